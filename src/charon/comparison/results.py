"""Results folder of a comparison.

==============================  =======================================================
``comparison.json``             plan, machine, versions, chosen settings (`Comparison`)
``cells/NUMBER-ATTEMPT.json``   result of one attempt of a cell (`CellResult`)
``samples/NUMBER-ATTEMPT.json``     its frames, one list per column
``samples/NUMBER-ATTEMPT.parquet``  the same as a table
``report.html``                 the report
==============================  =======================================================

A file is complete or missing: each is written under another name and renamed. The samples of a cell are written before
its result, so that an interrupt cannot leave a result without them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

from pydantic import ValidationError

from charon.comparison.model import FORMAT, CellResult, Comparison
from charon.comparison.sample_files import SamplesError, samples_from_json, samples_to_json, samples_to_parquet
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pydantic import BaseModel

    from charon.comparison.samples import FrameSamples

COMPARISON_FILE = "comparison.json"
REPORT_FILE = "report.html"

_CELL_FILE = re.compile(r"(\d{4,})-(\d+)\.json")
_DAMAGED_SUFFIX = ".damaged"


class ResultsFolder:
    """Folder with the results of a comparison; created by `create`, opened by `open`.

    Parameters
    ----------
    path
        The folder.
    comparison
        Content of its ``comparison.json``.
    results
        The readable results by (number, attempt).
    damaged
        Damaged files, each with one line that describes the damage.
    """

    def __init__(
        self,
        path: Path,
        comparison: Comparison,
        results: dict[tuple[int, int], CellResult] | None = None,
        damaged: dict[Path, str] | None = None,
    ) -> None:
        self.path = path
        self._comparison = comparison
        self._results = results or {}
        self._damaged = damaged or {}

    @classmethod
    def create(cls, path: Path, comparison: Comparison) -> ResultsFolder:
        """Create the folder and its ``comparison.json``.

        Raises
        ------
        UsageError
            If the folder cannot be created or is not empty.
        """
        try:
            path.mkdir(parents=True, exist_ok=True)
            is_occupied = any(path.iterdir())
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}; choose another folder with --output") from error
        if is_occupied:
            raise UsageError(
                f"{path} is not empty; choose another folder with --output, or continue its comparison with --resume"
            )
        folder = cls(path, comparison)
        folder.update(comparison)
        return folder

    @classmethod
    def open(cls, path: Path) -> ResultsFolder:
        """Read a folder; damaged files of cells are listed in `problems`, the other cells are kept.

        Raises
        ------
        UsageError
            If the folder or its ``comparison.json`` is missing, or ``comparison.json`` is damaged.
        """
        if not path.is_dir():
            raise UsageError(f"{path}: no such folder; use a results folder of charonctl compare")
        comparison = _read_comparison(path / COMPARISON_FILE)
        results: dict[tuple[int, int], CellResult] = {}
        damaged: dict[Path, str] = {}
        for key, file in _cell_files(path / "cells"):
            try:
                result = CellResult.model_validate_json(file.read_bytes())
                if (result.cell.number, result.attempt) != key:
                    raise SamplesError(f"contains cell {result.cell.number}, attempt {result.attempt}")
                results[key] = result
            except (OSError, ValueError) as error:
                damaged[file] = _describe(error)
        return cls(path, comparison, results, damaged)

    @property
    def comparison(self) -> Comparison:
        """Plan, machine, versions and chosen settings."""
        return self._comparison

    @property
    def report(self) -> Path:
        """Path of the report."""
        return self.path / REPORT_FILE

    @property
    def problems(self) -> list[str]:
        """One line for each damaged file."""
        effects = {"cells": "the cell is ignored", "samples": "the cell's frames are ignored"}
        return [f"{file}: damaged: {cause}; {effects[file.parent.name]}" for file, cause in self._damaged.items()]

    def results(self) -> list[CellResult]:
        """Return the results of all attempts, ordered by number and attempt."""
        return [self._results[key] for key in sorted(self._results)]

    def samples(self, result: CellResult) -> FrameSamples | None:
        """Return the samples of a result; None if it has none, or its file is damaged, which `problems` then lists."""
        file = self._file("samples", result)
        if file in self._damaged:
            return None
        try:
            return samples_from_json(file.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, SamplesError) as error:
            self._damaged[file] = _describe(error)
            return None

    def update(self, comparison: Comparison) -> None:
        """Write ``comparison.json``.

        Raises
        ------
        UnavailableError
            If it cannot be written.
        """
        _write(self.path / COMPARISON_FILE, _to_json(comparison))
        self._comparison = comparison

    def add(self, result: CellResult, samples: FrameSamples | None) -> None:
        """Write the result of a cell and its samples.

        Raises
        ------
        UnavailableError
            If a file cannot be written, or pyarrow is not installed.
        """
        if samples is not None:
            _write(self._file("samples", result), samples_to_json(samples))
            _write(self._file("samples", result, ".parquet"), samples_to_parquet(samples, result))
        _write(self._file("cells", result), _to_json(result))
        self._results[result.cell.number, result.attempt] = result

    def set_damaged_aside(self) -> None:
        """Rename damaged files of cells, so that a resumed comparison repeats these cells under their numbers.

        Raises
        ------
        UnavailableError
            If a file cannot be renamed.
        """
        for file in list(self._damaged):
            try:
                file.replace(file.with_name(file.name + _DAMAGED_SUFFIX))
            except OSError as error:
                raise UnavailableError(f"{file}: damaged and not renamed: {error.strerror}; remove it") from error
            del self._damaged[file]

    @contextmanager
    def locked(self) -> Generator[None]:
        """Lock the folder for writing.

        Raises
        ------
        UsageError
            If another process has locked it.
        UnavailableError
            If its file system has no locks.
        """
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"{self.path}: another charonctl compare is running in this folder; wait until it ends"
                ) from error
            except OSError as error:
                message = f"{self.path}: cannot be locked: {error.strerror}; choose a folder on a local disk"
                raise UnavailableError(message) from error
            yield
        finally:
            os.close(descriptor)

    def _file(self, kind: str, result: CellResult, suffix: str = ".json") -> Path:
        return self.path / kind / f"{result.cell.number:04d}-{result.attempt}{suffix}"


def _read_comparison(file: Path) -> Comparison:
    try:
        content = file.read_bytes()
        _check_format(file, content)
        return Comparison.model_validate_json(content)
    except FileNotFoundError as error:
        raise UsageError(
            f"{file.parent} contains no {COMPARISON_FILE}; use a results folder of charonctl compare"
        ) from error
    except UsageError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{file}: damaged: {_describe(error)}; restore it, or measure again") from error


def _check_format(file: Path, content: bytes) -> None:
    """Raise UsageError if a file was written by a version of Charon with another format."""
    document: object = json.loads(content)
    found = cast("dict[str, object]", document).get("format") if isinstance(document, dict) else None
    if isinstance(found, int) and found != FORMAT:
        raise UsageError(
            f"{file}: format {found}, and this version of Charon reads format {FORMAT}; use the version that wrote it"
        )


def _cell_files(folder: Path) -> list[tuple[tuple[int, int], Path]]:
    """Return the result files with their numbers and attempts, in this order."""
    if not folder.is_dir():
        return []
    try:
        matches = [(_CELL_FILE.fullmatch(file.name), file) for file in folder.iterdir()]
    except OSError as error:
        raise UsageError(f"{folder}: cannot be read: {error.strerror}; change its permissions") from error
    return sorted(((int(match[1]), int(match[2])), file) for match, file in matches if match is not None)


def _describe(error: Exception) -> str:
    """Return the cause of the damage in one line."""
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        return f"{path}: {first['msg']}" if path else first["msg"]
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return str(error)


def _to_json(document: BaseModel) -> bytes:
    return document.model_dump_json(indent=2).encode() + b"\n"


def _write(file: Path, content: bytes) -> None:
    """Write a file that is complete or missing, also after a crash of the machine."""
    part = file.with_name(f".{file.name}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as output:
            output.write(content)
            output.flush()
            os.fsync(output.fileno())
        part.replace(file)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise UnavailableError(f"{file}: {error.strerror}; the comparison can be continued with --resume") from error
