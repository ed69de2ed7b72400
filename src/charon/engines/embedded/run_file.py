"""Run files: how commands in another terminal find a running pipeline."""

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
    """Content of a run file.

    Parameters
    ----------
    pipeline, run
        Names of the pipeline and of the run.
    pid
        Process id of the supervisor.
    port, token
        TCP port and token of the nats-server.
    output, manifest
        Folder of the results, and file or URL of the manifest.
    started_ns
        Time when the file was written, ns since 1970.
    replicas
        All replicas, as ``vertex.replica``.
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
        """Address of the run's nats-server."""
        return NatsAddress(port=self.port, token=self.token)

    @property
    def alive(self) -> bool:
        """Whether the supervisor that wrote the file is still running."""
        try:
            process = psutil.Process(self.pid)
            running = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
            # Process ids are reused: the supervisor started before it wrote the file.
            return running and process.create_time() * 1e9 <= self.started_ns
        except psutil.Error:
            return False


class RunFile:
    """The run file of one pipeline, locked while it runs; readable by its owner only, because it contains a token.

    Parameters
    ----------
    pipeline
        Name of the pipeline.

    Raises
    ------
    UsageError
        If a pipeline of this name is already running.
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
                    f"pipeline {pipeline!r} is already running on this machine;"
                    f" stop it with: charonctl stop {pipeline} --local"
                ) from error
            if self._is_current():
                return
            # A run that ended deleted the file between the two calls; a later run would lock a new file.
            self._file.close()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        except FileNotFoundError:
            return False

    def write(self, info: RunInfo) -> None:
        """Write the content of the file."""
        self._file.seek(0)
        self._file.truncate()
        json.dump(asdict(info), self._file)
        self._file.flush()

    def close(self) -> None:
        """Delete the file and release the lock."""
        self.path.unlink(missing_ok=True)
        self._file.close()


def find_runs() -> list[RunInfo]:
    """Return this user's active runs on this machine."""
    runs: list[RunInfo] = []
    for path in sorted(runs_folder().glob("*.json")):
        try:
            info = RunInfo(**_read(path))
        except (OSError, ValueError, TypeError):
            continue
        if info.alive:
            runs.append(info)
    return runs


def find_run(pipeline: str | None) -> RunInfo:
    """Return the active run of a pipeline, or the only active run.

    Raises
    ------
    UsageError
        If there is none, or `pipeline` is None and there are several.
    """
    runs = find_runs()
    names = ", ".join(run.pipeline for run in runs)
    if pipeline is None:
        if len(runs) == 1:
            return runs[0]
        if runs:
            raise UsageError(f"several pipelines are running on this machine: {names}; specify one")
        raise UsageError("no pipeline is running on this machine; start one with: charonctl run FILE --local")
    for run in runs:
        if run.pipeline == pipeline:
            return run
    hint = f"running: {names}" if runs else "start one with: charonctl run FILE --local"
    raise UsageError(f"no pipeline {pipeline!r} is running on this machine; {hint}")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())
