"""When a pipeline ran and where: written down by run and stop, read by metrics."""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from charon.adapters.addresses import without_credentials
from charon.adapters.timestamps import parse_time, rfc3339
from charon.errors import UnavailableError, UsageError

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
        Of the pipeline; the embedded engine has no namespaces.
    engine
        Where it ran.
    manifest
        File or URL that it was read from.
    started_ns, ended_ns
        ns since 1970; `ended_ns` is None while it runs, or where nobody saw it end.
    """

    name: str
    namespace: str
    engine: Engine
    manifest: str
    started_ns: int
    ended_ns: int | None = None

    @property
    def at(self) -> str:
        """When it began, in UTC: what tells the runs of one name apart."""
        return rfc3339(self.started_ns // 1_000_000)

    def to_json(self) -> dict[str, Any]:
        """Return the record as JSON values, with times that one can read."""
        ended = None if self.ended_ns is None else rfc3339(self.ended_ns // 1_000_000)
        return {**asdict(self), "start": self.at, "end": ended}


@contextmanager
def failure_as_warning() -> Generator[None]:
    """Say what cannot be written down, and go on: on the cluster it has happened already."""
    try:
        yield
    except UnavailableError as error:
        click.echo(f"warning: {error}", err=True)


def record_start(name: str, *, namespace: str = "", engine: Engine, manifest: str = "") -> RunRecord:
    """Write down that a pipeline begins to run now.

    Raises
    ------
    UsageError
        If the name is none.
    UnavailableError
        If the record cannot be written.
    """
    record = RunRecord(name, namespace, engine, without_credentials(manifest), time.time_ns())
    _write(record)
    return record


def record_end(name: str, *, namespace: str | None = None) -> RunRecord | None:
    """Write down that a pipeline's latest run ends now.

    Returns
    -------
    The record; None where there is none that has not ended.

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
    """Return the latest run of a pipeline, or the one that ``NAME@TIME`` says.

    Parameters
    ----------
    name
        ``NAME`` or ``NAMESPACE/NAME``. After ``@`` a time, as `parse_time` takes it, at which it ran.

    Raises
    ------
    UsageError
        If there is none.
    """
    called, _, moment = name.partition("@")
    namespace, _, pipeline = called.rpartition("/")
    found = [r for r in records(pipeline) if not namespace or r.namespace == namespace]
    if not found:
        known = sorted({r.name for r in records()})
        others = f"runs are known of: {', '.join(known)}" if known else "no run was written down yet"
        raise UsageError(f"no run of {called!r} is known; {others}")
    if not moment:
        return found[-1]
    at_ns = parse_time(moment, time.time_ns() // 1_000_000) * 1_000_000
    # The time that is shown of a run is cut to milliseconds.
    meant = [r for r in found if r.started_ns - 1_000_000 < at_ns <= (_closed(r, found).ended_ns or time.time_ns())]
    if not meant:
        raise UsageError(f"no run of {called!r} was on at {moment}; they began at {', '.join(r.at for r in found)}")
    return _closed(meant[-1], found)


def records(name: str | None = None) -> list[RunRecord]:
    """Return the runs of a pipeline, or of all, in the order in which they began."""
    if name is not None and not _NAME.fullmatch(name):
        return []
    found: list[RunRecord] = []
    for path in records_folder().glob(f"{name or '*'}/*.json"):
        try:
            record = RunRecord(**{k: v for k, v in json.loads(path.read_text()).items() if k not in {"start", "end"}})
        except (OSError, ValueError, TypeError, AttributeError):
            continue
        if isinstance(record.started_ns, int) and isinstance(record.ended_ns, int | None):  # pyright: ignore[reportUnnecessaryIsInstance] - a file may say anything
            found.append(record)
    return sorted(found, key=lambda record: record.started_ns)


def records_folder() -> Path:
    """Return the folder of all records: ``$XDG_STATE_HOME/charon/runs`` or ``~/.local/state/charon/runs``.

    The files of runs that are on lie in it too, each beside the folder with the records of its name.
    """
    base = os.environ.get("XDG_STATE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".local" / "state") / "charon" / "runs"
    except RuntimeError as error:
        raise UnavailableError("there is no home folder for the records of runs: set XDG_STATE_HOME") from error


def _closed(record: RunRecord, found: list[RunRecord]) -> RunRecord:
    """Return a record whose end nobody saw as ended when the next of its name and namespace began."""
    if record.ended_ns is not None:
        return record
    later = [r.started_ns for r in found if r.started_ns > record.started_ns and r.namespace == record.namespace]
    return replace(record, ended_ns=min(later)) if later else record


def _write(record: RunRecord) -> None:
    if not _NAME.fullmatch(record.name):
        raise UsageError(f"{record.name!r} is no name of a pipeline")
    folder = records_folder() / record.name
    path = folder / f"{record.started_ns}.json"
    part: Path | None = None
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".part", delete=False) as file:
            part = Path(file.name)
            json.dump(record.to_json(), file, indent=2)
            file.write("\n")
        part.replace(path)
    except OSError as error:
        if part is not None:
            part.unlink(missing_ok=True)
        raise UnavailableError(f"the run cannot be written down in {folder}: {error.strerror or error}") from error
