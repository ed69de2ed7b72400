"""Records of runs: when and where a pipeline ran, written by run and stop, read by metrics."""

from __future__ import annotations

import json
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from charon.adapters.addresses import without_credentials
from charon.adapters.timestamps import parse_time, rfc3339
from charon.errors import UnavailableError, UsageError
from charon.settings.paths import runs_folder

if TYPE_CHECKING:
    from collections.abc import Generator

Engine = Literal["embedded", "numaflow"]
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run of a pipeline.

    Parameters
    ----------
    name, namespace
        Name and namespace of the pipeline; the namespace is empty for the embedded engine.
    engine
        Engine that ran it.
    manifest
        File or URL of its manifest.
    started_ns, ended_ns
        Start and end of the run, ns since 1970; `ended_ns` is None while it is running or if its end was not recorded.
    """

    name: str
    namespace: str
    engine: Engine
    manifest: str
    started_ns: int
    ended_ns: int | None = None

    @property
    def at(self) -> str:
        """Time of the start, in UTC, which identifies a run among those of the same name."""
        return rfc3339(self.started_ns // 1_000_000)

    def to_json(self) -> dict[str, object]:
        """Return the record as JSON values, with readable times in addition."""
        ended = None if self.ended_ns is None else rfc3339(self.ended_ns // 1_000_000)
        return {**asdict(self), "start": self.at, "end": ended}


@contextmanager
def failure_as_warning() -> Generator[None]:
    """Report a record that cannot be written as a warning, because the cluster has executed the command already."""
    try:
        yield
    except UnavailableError as error:
        click.echo(f"warning: {error}", err=True)


def record_start(name: str, *, namespace: str = "", engine: Engine, manifest: str = "") -> RunRecord:
    """Record that a run of a pipeline starts now.

    Raises
    ------
    UsageError
        If the name is invalid.
    UnavailableError
        If the record cannot be written.
    """
    record = RunRecord(name, namespace, engine, without_credentials(manifest), time.time_ns())
    _write(record)
    return record


def record_end(name: str, *, namespace: str | None = None) -> RunRecord | None:
    """Record that the latest run of a pipeline ends now.

    Returns
    -------
    The record; None if every recorded run has ended.

    Raises
    ------
    UnavailableError
        If the record cannot be written.
    """
    running = [r for r in records(name) if r.ended_ns is None and namespace in {None, r.namespace}]
    if not running:
        return None
    ended = replace(running[-1], ended_ns=time.time_ns())
    _write(ended)
    return ended


def find(name: str) -> RunRecord:
    """Return the latest run of a pipeline, or the run at a given time.

    Parameters
    ----------
    name
        ``[NAMESPACE/]NAME[@TIME]``; the run was active at TIME, in one of the formats of `parse_time`.

    Raises
    ------
    UsageError
        If there is no such run.
    """
    identifier, _, moment = name.partition("@")
    namespace, _, pipeline = identifier.rpartition("/")
    runs = [r for r in records(pipeline) if not namespace or r.namespace == namespace]
    if not runs:
        known = sorted({r.name for r in records()})
        others = f"recorded pipelines: {', '.join(known)}" if known else "no run is recorded yet; use --start and --end"
        raise UsageError(f"no recorded run of {identifier!r}; {others}")
    if not moment:
        return runs[-1]
    at_ns = parse_time(moment, time.time_ns() // 1_000_000) * 1_000_000
    # `RunRecord.at` is truncated to milliseconds.
    active = [r for r in runs if r.started_ns - 1_000_000 < at_ns <= (_closed(r, runs).ended_ns or time.time_ns())]
    if not active:
        raise UsageError(f"no run of {identifier!r} at {moment}; runs started at {', '.join(r.at for r in runs)}")
    return _closed(active[-1], runs)


def records(name: str | None = None) -> list[RunRecord]:
    """Return the recorded runs of a pipeline, or of all pipelines, in the order of their start."""
    if name is not None and not _NAME.fullmatch(name):
        return []
    valid: list[RunRecord] = []
    for path in runs_folder().glob(f"{name or '*'}/*.json"):
        try:
            record = RunRecord(**{k: v for k, v in json.loads(path.read_text()).items() if k not in {"start", "end"}})
        except (OSError, ValueError, TypeError, AttributeError):
            continue
        if isinstance(record.started_ns, int) and isinstance(record.ended_ns, int | None):  # pyright: ignore[reportUnnecessaryIsInstance] - values from a file
            valid.append(record)
    return sorted(valid, key=lambda record: record.started_ns)


def _closed(record: RunRecord, runs: list[RunRecord]) -> RunRecord:
    """Return the record; without a recorded end, it ends when the next run of its name and namespace starts."""
    if record.ended_ns is not None:
        return record
    later = [r.started_ns for r in runs if r.started_ns > record.started_ns and r.namespace == record.namespace]
    return replace(record, ended_ns=min(later)) if later else record


def _write(record: RunRecord) -> None:
    if not _NAME.fullmatch(record.name):
        raise UsageError(f"invalid pipeline name {record.name!r}; use letters, digits, dots, dashes and underscores")
    folder = runs_folder() / record.name
    path = folder / f"{record.started_ns}.json"
    temporary: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False) as file:
            temporary = Path(file.name)
            json.dump(record.to_json(), file, indent=2)
            file.write("\n")
        temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        raise UnavailableError(f"cannot write the record of the run to {folder}: {error.strerror or error}") from error
