"""``charonctl demo``: simulate a scan and reconstruct it live on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charon.cli.parameters import FiniteRange, Shape, ShippedPath
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.cli.session import Session
    from charon.cli.simulated_run import DetectorProcess

MANIFEST = "workflows/aps/numaflow-aps-live.yaml"
_RESULTS = ("run", "log", "summary.json", "truth.npz", "stitched.png", "stitched.h5", "comparison.png")
# Simulation competes with inference for CPU time; frames prepared in advance keep it ahead of the detector.
_PREPARE_TIME_S = 5


@click.command()
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True, help="Folder for results."
)
@click.option("--manifest", type=ShippedPath(), default=MANIFEST, show_default=True, help="Manifest of the pipeline.")
@click.option(
    "--frame-rate",
    "-fps",
    type=FiniteRange(min=0, min_open=True),
    default=100.0,
    show_default=True,
    help="Frames per second.",
)
@click.option("--shape", type=Shape("LINESxPOINTS"), default="48x48", show_default=True, help="Shape of the scan.")
@click.option(
    "--sample",
    type=click.Choice(["chart", "star", "tungsten"]),
    default="chart",
    show_default=True,
    help="Simulated sample.",
)
@click.option("--seed", default=0, show_default=True, help="Random seed for noise and sample.")
def demo(output: Path, manifest: Path, frame_rate: float, shape: tuple[int, int], sample: str, seed: int) -> int:
    """Simulate a scan of 512x512 frames, reconstruct it live, and compare the result with the ground truth."""
    from charon.cli.preflight import check_vertices  # noqa: PLC0415 - imports NumPy
    from charon.cli.simulated_run import DetectorProcess, run_with_detector, stay_on_loopback  # noqa: PLC0415 - imports NATS and rich
    from charon.engines.embedded import EngineError, Options  # noqa: PLC0415 - imports NATS
    from charon.engines.manifest import read_pipeline  # noqa: PLC0415 - imports pydantic

    lines, points = shape
    pipeline = read_pipeline(manifest)
    check_vertices(pipeline, str(manifest))
    prepare_output(output)
    stay_on_loopback()
    options: dict[str, str | float | bool] = {
        "scan": "snake",
        "shape": f"{lines}x{points}",
        "sample": sample,
        "seed": seed,
        "scan-id": "stitched",
        "frame-rate": frame_rate,
        "truth": str(output / "truth.npz"),
        "prepare-time": _PREPARE_TIME_S,
    }
    detector = DetectorProcess(output / "run", options)
    try:
        session = run_with_detector(pipeline, manifest, Options(output=output), detector, expected=lines * points)
    except EngineError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    return report_results(session, output, detector)


def prepare_output(output: Path) -> None:
    """Create the output folder and delete the results of an earlier demo in it.

    Raises
    ------
    UsageError
        If the folder is not writable.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in _RESULTS:
            path = output / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}; choose another folder with --output") from error


def report_results(session: Session, output: Path, detector: DetectorProcess) -> int:
    """Compare the image with the ground truth, write and print the summary, and return the exit status."""
    from charon.cli.ground_truth import compare_with_truth  # noqa: PLC0415 - imports SciPy
    from charon.cli.summary import print_summary, run_summary, write_json  # noqa: PLC0415 - imports rich

    report = detector.report()
    quality = compare_with_truth(output / "stitched.h5", output / "truth.npz", output / "comparison.png")
    summary: dict[str, Any] = {**run_summary(session), "phase": quality, "detector": report}
    write_json(output / "summary.json", summary)
    print_summary(session)
    if report.get("achieved_hz"):
        click.echo(f"detector: {report['published']:,} frames at {report['achieved_hz']:.0f} frames/s")
    if quality:
        click.echo(f"phase against ground truth: Pearson r {quality['pearson_r']:.3f}, SSIM {quality['ssim']:.3f}")
    click.echo(f"image: {output / 'stitched.png'}   comparison: {output / 'comparison.png'}")
    click.echo(f"data: {output / 'stitched.h5'}   summary: {output / 'summary.json'}")
    if not report:
        click.echo(f"error: the detector exited early: {detector.last_log_line()}", err=True)
        return 1
    account = session.final.account if session.final else None
    if account is None or not account.adds_up or account.lost or account.published != report["published"]:
        click.echo(f"error: the account does not match the {report['published']:,} frames of the detector", err=True)
        return 1
    return 0
