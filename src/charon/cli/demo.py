"""``charonctl demo``: a simulated scan, reconstructed while it runs, on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charon.cli.parameters import ShippedPath
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.cli.session import Session
    from charon.cli.trial import DetectorProcess

MANIFEST = "workflows/aps/numaflow-aps-live.yaml"
_OURS = ("run", "log", "summary.json", "truth.npz", "stitched.png", "stitched.h5", "comparison.png")


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True, help="Folder.")
@click.option("--manifest", type=ShippedPath(), default=MANIFEST, show_default=True, help="Pipeline.")
@click.option("--frame-rate", "-fps", type=click.FloatRange(min=0, min_open=True), default=100.0, show_default=True)
@click.option("--shape", default="48x48", show_default=True, help="Lines x points of the scan.")
@click.option("--sample", type=click.Choice(["chart", "star", "tungsten"]), default="chart", show_default=True)
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
def demo(output: Path, manifest: Path, frame_rate: float, shape: str, sample: str, seed: int) -> int:
    """Simulate a scan of 512x512 frames at 100 frames/s and reconstruct it live; it ends by itself."""
    from charon.cli.trial import DetectorProcess, run_trial, stay_on_loopback  # noqa: PLC0415 - imports NATS and rich
    from charon.engines.embedded import EngineError, Options  # noqa: PLC0415 - imports NATS
    from charon.engines.manifest import read_pipeline  # noqa: PLC0415 - imports pydantic

    expected = count_points(shape)
    pipeline = read_pipeline(manifest)
    clear(output)
    stay_on_loopback()
    options: dict[str, str | float | bool] = {"scan": "snake", "shape": shape, "sample": sample, "seed": seed}
    options |= {"scan-id": "stitched", "frame-rate": frame_rate, "truth": str(output / "truth.npz")}
    # Simulating takes part of the processors: with a start of a few seconds it stays ahead of the detector.
    options["prepare-time"] = 5
    detector = DetectorProcess(output / "run", options)
    try:
        session = run_trial(pipeline, manifest, Options(output=output), detector, expected=expected)
    except EngineError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    return finish(session, output, detector)


def count_points(shape: str) -> int:
    """Return how many frames a scan of LINESxPOINTS has.

    Raises
    ------
    UsageError
        If it is not written so.
    """
    try:
        lines, points = (int(n) for n in shape.lower().split("x"))
    except ValueError as error:
        raise UsageError(f"--shape {shape!r} is not LINESxPOINTS, such as 48x48") from error
    if min(lines, points) < 1:
        raise UsageError(f"--shape {shape!r} has no point; it takes LINESxPOINTS, such as 48x48")
    return lines * points


def clear(output: Path) -> None:
    """Make the demo's folder, and take away what an earlier demo left there, nothing else.

    Raises
    ------
    UsageError
        If the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        for name in _OURS:
            path = output / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{output}: {error.strerror}; give another folder with --output") from error


def finish(session: Session, output: Path, detector: DetectorProcess) -> int:
    """Compare with the truth, write the summary, say what came out; return the exit status."""
    from charon.cli.ground_truth import compare_with_truth  # noqa: PLC0415 - imports NumPy and HDF5
    from charon.cli.session import write_json  # noqa: PLC0415 - imports NATS and rich

    told = detector.report()
    quality = compare_with_truth(output / "stitched.h5", output / "truth.npz", output / "comparison.png")
    summary: dict[str, Any] = {**session.summary(), "phase": quality, "detector": told}
    write_json(output / "summary.json", summary)
    session.say_summary()
    if told.get("achieved_hz"):
        click.echo(f"the detector published {told['published']:,} frames at {told['achieved_hz']:.0f} frames/s")
    if quality:
        click.echo(f"phase against the truth: Pearson r {quality['pearson_r']:.3f}, SSIM {quality['ssim']:.3f}")
    click.echo(f"image: {output / 'stitched.png'}   beside the truth: {output / 'comparison.png'}")
    click.echo(f"data: {output / 'stitched.h5'}   figures: {output / 'summary.json'}")
    if not told:
        click.echo(f"error: the detector ended early: {detector.last_log_line()}", err=True)
        return 1
    account = session.final.account if session.final else None
    if account is None or not account.adds_up or account.lost or account.published != told["published"]:
        click.echo(f"error: the detector says that it published {told['published']} frames", err=True)
        return 1
    return 0
