"""``charonctl demo``: a simulated scan, reconstructed while it runs, on this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charon.frames.errors import UsageError

if TYPE_CHECKING:
    from charon.cli.session import Session
    from charon.engines.embedded import Snapshot
    from charon.engines.manifest import Pipeline

MANIFEST = Path("workflows/aps/numaflow-aps-live.yaml")
_OURS = ("run", "log", "summary.json", "detector.json", "truth.npz", "stitched.png", "stitched.h5", "comparison.png")


@click.command()
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/demo"), show_default=True, help="Folder.")
@click.option("--manifest", type=click.Path(path_type=Path), default=MANIFEST, show_default=True, help="Pipeline.")
@click.option("--frame-rate", "-fps", type=click.FloatRange(min=0, min_open=True), default=100.0, show_default=True)
@click.option("--shape", default="48x48", show_default=True, help="Lines x points of the scan.")
@click.option("--sample", default="chart", show_default=True, help="What is scanned: chart, star or tungsten.")
@click.option("--seed", default=0, show_default=True, help="Of the noise.")
def demo(output: Path, manifest: Path, frame_rate: float, shape: str, sample: str, seed: int) -> int:
    """Simulate a scan of 512x512 frames at 100 frames/s and reconstruct it live; it ends by itself."""
    from charon.engines.embedded import EngineError
    from charon.engines.manifest import read_pipeline

    pipeline = read_pipeline(manifest)
    clear(output)
    choose_ports()
    detector = DemoDetector(output, frame_rate, shape, sample, seed)
    try:
        session = asyncio.run(_run(pipeline, manifest, output, detector))
    except EngineError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    finally:
        detector.stop()
    summary = {**session.summary(), "detector": detector.report()}
    return finish(session, output, summary)


@dataclass(slots=True)
class DemoDetector:
    """The detector of the demo: ``charonctl detector`` as a process of its own."""

    output: Path
    frame_rate: float
    shape: str
    sample: str
    seed: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def frames(self) -> int:
        """How many frames it publishes."""
        try:
            lines, points = (int(n) for n in self.shape.lower().split("x"))
        except ValueError as error:
            raise UsageError(f"--shape {self.shape!r} is not LINESxPOINTS, such as 48x48") from error
        return lines * points

    def start(self) -> None:
        """Start it; it makes its first frames and waits for the pipeline before it publishes them."""
        from charon.engines.embedded.processes import die_with_parent

        options = {
            "--scan": "snake",
            "--shape": self.shape,
            "--sample": self.sample,
            "--seed": str(self.seed),
            "--scan-id": "stitched",
            "--frame-rate": str(self.frame_rate),
            "--shutdown-delay": "1",
            "--report": str(self.output / "detector.json"),
            "--truth": str(self.output / "truth.npz"),
        }
        command = [sys.executable, "-m", "charon.cli.main", "detector", "--wait-for-client"]
        command += [word for pair in options.items() for word in pair]
        with (self.output / "run" / "detector.log").open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - this program
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - the child only ties its life to this one's
            )

    @property
    def ended(self) -> bool:
        """Whether it has published everything."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """End it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()

    def report(self) -> dict[str, Any]:
        """Return what it says that it published."""
        try:
            return json.loads((self.output / "detector.json").read_text())
        except (OSError, ValueError):
            return {}


async def _run(pipeline: Pipeline, manifest: Path, output: Path, detector: DemoDetector) -> Session:
    from charon.cli.session import Session
    from charon.engines.embedded import Options

    def finished(snapshot: Snapshot) -> bool:
        return detector.ended and snapshot.account.in_flight == 0

    expected = detector.frames
    session = Session(pipeline, manifest, Options(output=output), finished=finished, expected=expected)
    (output / "run").mkdir(parents=True, exist_ok=True)
    # Beside the pipeline, not after it: making the first frames takes as long as loading the network.
    detector.start()
    await session.run()
    return session


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


def choose_ports() -> None:
    """Keep the demo's pvAccess on loopback, and off ports that somebody else uses."""
    os.environ.setdefault("EPICS_PVA_ADDR_LIST", "127.0.0.1")
    os.environ.setdefault("EPICS_PVA_AUTO_ADDR_LIST", "NO")
    os.environ.setdefault("EPICS_PVAS_INTF_ADDR_LIST", "127.0.0.1")
    if "EPICS_PVA_BROADCAST_PORT" in os.environ:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual, contextlib.suppress(OSError):
        usual.bind(("127.0.0.1", 5076))
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    click.echo(f"UDP port 5076 is in use; this demo's channels are found with EPICS_PVA_BROADCAST_PORT={port}", err=True)
    os.environ["EPICS_PVA_BROADCAST_PORT"] = os.environ["EPICS_PVAS_BROADCAST_PORT"] = port


def finish(session: Session, output: Path, summary: dict[str, Any]) -> int:
    """Compare with the truth, write the summary, say what came out; return the exit status."""
    from charon.cli.session import write_json
    from charon.cli.truth import compare_with_truth

    summary["phase"] = compare_with_truth(output / "stitched.h5", output / "truth.npz", output / "comparison.png")
    write_json(output / "summary.json", summary)
    session.say_summary()
    published = summary["detector"].get("published")
    account = session.final.account if session.final else None
    if summary["phase"]:
        quality = summary["phase"]
        click.echo(f"phase against the truth: Pearson r {quality['pearson_r']:.3f}, SSIM {quality['ssim']:.3f}")
    click.echo(f"image: {output / 'stitched.png'}   beside the truth: {output / 'comparison.png'}")
    click.echo(f"data: {output / 'stitched.h5'}   figures: {output / 'summary.json'}")
    complete = account is not None and account.adds_up and account.lost == 0 and account.published == published
    if not complete:
        click.echo(f"the detector says that it published {published} frames: see {output / 'run'}", err=True)
    return 0 if complete else 1
