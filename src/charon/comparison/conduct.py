"""Run the cells of a comparison in order, record each result at once, and continue after an interrupt."""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from charon.comparison.model import Cell
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from charon.comparison.model import CellResult
    from charon.comparison.results import ResultsFolder
    from charon.comparison.samples import FrameSamples
    from charon.comparison.schedule import PlannedCell

LOGS = "logs"
"""Subfolder of a results folder with the logs of cells that could not run."""

_MAX_LOG_BYTES = 1_000_000


class RunCell(Protocol):
    """Function that runs a cell; `charon.comparison.running.run_cell` is the real one."""

    def __call__(self, cell: Cell, folder: Path, *, attempt: int) -> tuple[CellResult, FrameSamples | None]:
        """Run a cell, with its logs in a folder, and return its result and its frames.

        A cell that cannot run has a result with the reason; only an interrupt raises an exception.
        """
        ...


class Observer(Protocol):
    """Observer of a comparison."""

    def started(self, cell: Cell, attempt: int) -> None:
        """Observe that an attempt starts."""
        ...

    def finished(self, result: CellResult) -> None:
        """Observe the result of an attempt."""
        ...

    def decided(self, result: CellResult) -> None:
        """Observe the final result of a cell, which may have been recorded before an interrupt."""
        ...


class Conductor:
    """One comparison that writes to a results folder.

    Parameters
    ----------
    folder
        The results folder; results in it are not measured again.
    run_cell
        Function that runs a cell.
    observer
        Observer of the progress.
    """

    def __init__(self, folder: ResultsFolder, run_cell: RunCell, observer: Observer) -> None:
        self._folder = folder
        self._run_cell = run_cell
        self._observer = observer
        self._attempts: dict[tuple[object, int], list[CellResult]] = {}
        for result in folder.results():
            self._attempts_of(result.cell).append(result)
        self._numbers = {result.cell.number for result in folder.results()}

    def run(self, cells: Generator[PlannedCell, CellResult]) -> None:
        """Run all cells that have no final result yet.

        A final result is usable, or a failure, or the last of ``max_attempts`` invalid ones.

        Raises
        ------
        KeyboardInterrupt
            If the user interrupts; the current cell is discarded, all earlier ones are recorded.
        UnavailableError
            If the folder of a cell cannot be created, or its result cannot be written.
        """
        position = 0
        answer: CellResult | None = None
        while True:
            try:
                planned = next(cells) if answer is None else cells.send(answer)
            except StopIteration:
                return
            position += 1
            answer = self._final_result(planned, position)
            self._observer.decided(answer)

    def _final_result(self, planned: PlannedCell, position: int) -> CellResult:
        attempts = self._attempts.get((planned.condition, planned.repetition), [])
        cell = attempts[0].cell if attempts else self._number(planned, position)
        while not attempts or not self._is_final(attempts[-1]):
            self._attempt(cell, attempt=1 + max((result.attempt for result in attempts), default=0))
            attempts = self._attempts_of(cell)
        return attempts[-1]

    def _is_final(self, result: CellResult) -> bool:
        return result.invalid is None or result.attempt >= self._folder.comparison.plan.max_attempts

    def _attempt(self, cell: Cell, attempt: int) -> None:
        self._observer.started(cell, attempt)
        logs = _new_folder(self._folder.path / LOGS / f"{cell.number:04d}-{attempt}")
        keep = False
        try:
            result, samples = self._run_cell(cell, logs, attempt=attempt)
            self._folder.add(result, samples)
            keep = result.failure is not None
        finally:
            _remove_logs(logs, keep_small=keep)
        self._attempts_of(cell).append(result)
        self._observer.finished(result)

    def _attempts_of(self, cell: Cell) -> list[CellResult]:
        return self._attempts.setdefault((cell.condition, cell.repetition), [])

    def _number(self, planned: PlannedCell, position: int) -> Cell:
        """Return the cell with its position as its number, or with the next free number if the position is used."""
        number = position if position not in self._numbers else max(self._numbers) + 1
        self._numbers.add(number)
        seed = self._folder.comparison.plan.seed + planned.repetition
        return Cell(number=number, condition=planned.condition, repetition=planned.repetition, seed=seed)


def _new_folder(folder: Path) -> Path:
    """Create an empty folder, and return it.

    Raises
    ------
    UnavailableError
        If it cannot be created.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise UnavailableError(f"{folder}: {error.strerror}; the comparison can be continued with --resume") from error
    return folder


def _remove_logs(folder: Path, *, keep_small: bool) -> None:
    """Remove the files of a cell, such as a stitched image; of a failed cell, keep those that explain the failure.

    A file that cannot be removed is left: it must not hide the result or the error of the cell.
    """
    with suppress(OSError):
        if not keep_small:
            shutil.rmtree(folder, ignore_errors=True)
        for file in folder.rglob("*"):
            if file.is_file() and file.stat().st_size > _MAX_LOG_BYTES:
                file.unlink()
        parent = folder.parent
        if parent.is_dir() and not any(parent.iterdir()):
            parent.rmdir()
