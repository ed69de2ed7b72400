"""Where a running pipeline is found from another terminal."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

import psutil

from charon.errors import UsageError
from charon.settings.nats import NatsAddress
from charon.settings.paths import runs_folder

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What another terminal needs to know of a run.

    Parameters
    ----------
    pipeline, run
        Names of the pipeline and of this run of it.
    pid
        Of its supervisor.
    port, token
        Of its nats-server.
    output, manifest
        Folder of its results; file that it was read from.
    started_ns
        When this was written, ns since 1970.
    replicas
        Every ``vertex.replica`` that it has, ready or not.
    """

    pipeline: str
    run: str
    pid: int
    port: int
    token: str
    output: str
    manifest: str
    started_ns: int
    replicas: list[str]

    @property
    def address(self) -> NatsAddress:
        """Where the run's nats-server is."""
        return NatsAddress(port=self.port, token=self.token)

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote this still runs."""
        try:
            process = psutil.Process(self.pid)
            # A process id is used again: the one meant began before it wrote this.
            here = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            return here and process.create_time() * 1e9 <= self.started_ns
        except psutil.Error:
            return False


class RunFile:
    """The file of one pipeline's run, locked while it runs; it holds a secret and is for its owner's eyes.

    Raises
    ------
    UsageError
        If a pipeline of this name runs already.
    """

    def __init__(self, pipeline: str) -> None:
        folder = runs_folder()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.path = folder / f"{pipeline}.json"
        while True:
            self._file: TextIO = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                self._file.close()
                raise UsageError(
                    f"a pipeline {pipeline!r} runs already here; end it with: charonctl stop {pipeline} --local"
                ) from error
            if self._is_there():
                return
            # A run that ended took it away between the two: whoever comes next would lock another file.
            self._file.close()

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def write(self, info: RunInfo) -> None:
        """Write where the run is found."""
        self._file.seek(0)
        self._file.truncate()
        json.dump(asdict(info), self._file)
        self._file.flush()

    def close(self) -> None:
        """Take the file away and let another run of the pipeline begin."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def find_runs() -> list[RunInfo]:
    """Return the runs that are alive on this machine, for this user."""
    found: list[RunInfo] = []
    for path in sorted(runs_folder().glob("*.json")):
        try:
            info = RunInfo(**_read(path))
        except (OSError, ValueError, TypeError):
            continue
        if info.alive:
            found.append(info)
    return found


def find_run(pipeline: str | None) -> RunInfo:
    """Return the run of a pipeline, or the only one.

    Raises
    ------
    UsageError
        If there is none, or several and none is named.
    """
    runs = find_runs()
    if pipeline is None:
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise UsageError(f"several pipelines run here: {', '.join(r.pipeline for r in runs)}; name one")
        raise UsageError("no pipeline runs here; start one with: charonctl run FILE --local")
    for run in runs:
        if run.pipeline == pipeline:
            return run
    others = f"; running: {', '.join(r.pipeline for r in runs)}" if runs else ""
    raise UsageError(f"no pipeline {pipeline!r} runs here{others}")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
