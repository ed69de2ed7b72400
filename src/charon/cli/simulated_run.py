"""A pipeline and a simulated detector together on loopback, for the demo and the benchmarks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from charon.cli.completion import CompletionDetector
from charon.cli.session import Session
from charon.engines.embedded import EmbeddedEngine
from charon.engines.embedded.processes import last_log_line, spawn
from charon.settings import epics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from charon.engines.embedded import Options, Snapshot
    from charon.engines.manifest import Pipeline

_TERMINATE_TIMEOUT_S = 10


@dataclass(slots=True)
class DetectorProcess:
    """``charonctl detector`` in a separate process.

    Parameters
    ----------
    folder
        Folder for its log and its report.
    options
        Its options by name without dashes; True means an option without a value.
    """

    folder: Path
    options: Mapping[str, str | float | bool]
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the detector, which prepares its first frames and publishes when a client is connected."""
        command = [sys.executable, "-m", "charon.cli.main", "detector", "--report", str(self._report)]
        for name, value in {"wait-for-client": True, "shutdown-delay": 1, **self.options}.items():
            command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        self.folder.mkdir(parents=True, exist_ok=True)
        self._process = spawn(command, self._log)

    @property
    def pid(self) -> int | None:
        """Process id, or None before the start."""
        return None if self._process is None else self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has exited."""
        return self._process is not None and self._process.poll() is not None

    def stop(self) -> None:
        """Terminate the process; kill it after a timeout."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_TERMINATE_TIMEOUT_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def report(self) -> dict[str, Any]:
        """Return the detector's report; empty if it wrote none."""
        try:
            return json.loads(self._report.read_text())
        except (OSError, ValueError):
            return {}

    def last_log_line(self) -> str:
        """Return the last line of its output."""
        return last_log_line(self._log)

    @property
    def _report(self) -> Path:
        return self.folder / "detector.json"

    @property
    def _log(self) -> Path:
        return self.folder / "detector.log"


def run_with_detector(
    pipeline: Pipeline,
    manifest: Path,
    options: Options,
    detector: DetectorProcess,
    *,
    expected: int | None = None,
    quiet: bool = False,
) -> Session:
    """Run a pipeline until the detector has exited and no frame is in flight; then stop the detector.

    Raises
    ------
    EngineError, UnavailableError, UsageError
        If the pipeline does not start or fails.
    """
    complete = CompletionDetector()

    def finished(snapshot: Snapshot) -> bool:
        return complete(snapshot) and detector.ended

    engine = EmbeddedEngine(pipeline, manifest, options)
    session = Session(engine, finished=finished, expected=expected, quiet=quiet)
    try:
        # Started before the pipeline, because simulating the first frames needs as much time as loading the network.
        detector.start()
        asyncio.run(session.run())
    finally:
        detector.stop()
    return session


def stay_on_loopback() -> None:
    """Restrict pvAccess to loopback, and use a free UDP port if its default port is in use."""
    epics.set_loopback_only()
    if epics.has_broadcast_port():
        return
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.bind((epics.LOOPBACK, epics.DEFAULT_BROADCAST_PORT))
        return
    port = _free_udp_port()
    click.echo(
        f"UDP port {epics.DEFAULT_BROADCAST_PORT} is in use; clients find these channels with"
        f" EPICS_PVA_BROADCAST_PORT={port}",
        err=True,
    )
    epics.set_broadcast_port(port)


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((epics.LOOPBACK, 0))
        return int(probe.getsockname()[1])
