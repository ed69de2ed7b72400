"""Runs of the embedded engine, as the reference for other engines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from charon.adapters.storage.nexus_reader import read_image
from loopback import isolated_environment

if TYPE_CHECKING:
    from pathlib import Path

    from charon.science.stitch import StitchedImage

CHARONCTL = (sys.executable, "-m", "charon.cli.main")


def reconstruct_embedded(folder: Path, manifest: Path, frames: int, *scan: str) -> StitchedImage:
    """Run a pipeline and a detector, and return the stitched image.

    Parameters
    ----------
    folder
        Folder for the results and the log.
    manifest
        File of the pipeline.
    frames
        Number of frames that the detector publishes.
    scan
        Options of the detector.
    """
    environment = isolated_environment("NUMAFLOW_", XDG_STATE_HOME=str(folder / "state"))
    output = folder / "out"
    command = [*CHARONCTL, "run", str(manifest), "--local", "--quiet", "--output", str(output)]
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            detector = [*CHARONCTL, "detector", "--wait-for-client", *scan]
            subprocess.run(detector, env=environment, check=True, timeout=120, stdout=log, stderr=log)
            run.send_signal(signal.SIGTERM)
            run.wait(60)
        finally:
            if run.poll() is None:
                run.kill()
            run.wait()
    summary = json.loads((output / "summary.json").read_text())
    assert summary["reconstructed"] == frames, (folder / "log").read_text()
    image = read_image(output / "scan-1.h5")
    assert image is not None
    return image
