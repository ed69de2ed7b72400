"""A pipeline and a detector together, on loopback: what the demo, the benchmarks and trials run."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from charon.cli.session import Session, Stillness
from charon.engines.embedded.processes import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from charon.engines.embedded import Options, Snapshot
    from charon.engines.manifest import Pipeline


@dataclass(slots=True)
class DetectorProcess:
    """``charonctl detector`` as a process of its own.

    Parameters
    ----------
    folder
        Where its log and its report go.
    options
        Its options by name without dashes; True stands for an option without a value.
    """

    folder: Path
    options: Mapping[str, str | float | bool]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it; it makes its first frames and waits for a client before it publishes them."""
        command = [sys.executable, "-m", "charon.cli.main", "detector", "--report", str(self._report)]
        for name, value in {"wait-for-client": True, "shutdown-delay": 1, **self.options}.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "detector.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - this program
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=die_with_parent(),  # noqa: PLW1509 - the child only ties its life to this one's
            )

    @property
    def pid(self) -> int | None:
        """Process id, once started."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it has published everything."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """End it."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def report(self) -> dict[str, Any]:
        """Return what it says that it published; empty where it wrote nothing."""
        try:
            return json.loads(self._report.read_text())
        except (OSError, ValueError):
            return {}

    def last_log_line(self) -> str:
        """Return the last line that it wrote."""
        try:
            lines = (self.folder / "detector.log").read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else "it wrote nothing"

    @property
    def _report(self) -> Path:
        return self.folder / "detector.json"


def run_trial(
    pipeline: Pipeline,
    manifest: Path,
    options: Options,
    detector: DetectorProcess,
    *,
    expected: int | None = None,
    quiet: bool = False,
) -> Session:
    """Run a pipeline until the detector has ended and every frame has; the detector is ended in any case.

    Raises
    ------
    EngineError, UnavailableError, UsageError
        If the pipeline does not start or cannot go on.
    """
    still = Stillness()

    def finished(snapshot: Snapshot) -> bool:
        return still(snapshot) and detector.ended

    session = Session(pipeline, manifest, options, finished=finished, expected=expected, quiet=quiet)
    try:
        # Beside the pipeline, not after it: making the first frames takes as long as loading the network.
        detector.start()
        asyncio.run(session.run())
    finally:
        detector.stop()
    return session


def stay_on_loopback() -> None:
    """Keep pvAccess on loopback, and off the usual port where somebody else uses it."""
    os.environ.setdefault("EPICS_PVA_ADDR_LIST", "127.0.0.1")
    os.environ.setdefault("EPICS_PVA_AUTO_ADDR_LIST", "NO")
    os.environ.setdefault("EPICS_PVAS_INTF_ADDR_LIST", "127.0.0.1")
    if "EPICS_PVA_BROADCAST_PORT" in os.environ:
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual, contextlib.suppress(OSError):
        usual.bind(("127.0.0.1", 5076))
        return
    port = str(_free_udp_port())
    click.echo(f"UDP port 5076 is in use: find these channels with EPICS_PVA_BROADCAST_PORT={port}", err=True)
    os.environ["EPICS_PVA_BROADCAST_PORT"] = os.environ["EPICS_PVAS_BROADCAST_PORT"] = port


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
