"""Run one cell and return its result."""

from __future__ import annotations

import logging
import sys
import time
from typing import TYPE_CHECKING

import psutil

from charon.comparison.model import CellResult
from charon.comparison.running.checks import available_bytes, obstacle
from charon.comparison.running.measurement import DetectorTooSlowError, measure
from charon.comparison.running.pods import POD_ENGINES, measure_pods
from charon.comparison.running.result import result_of
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from charon.comparison.model import Cell
    from charon.comparison.samples import FrameSamples

_log = logging.getLogger(__name__)


def run_cell(
    cell: Cell, folder: Path, *, attempt: int, memory_bytes: int | None = None
) -> tuple[CellResult, FrameSamples | None]:
    """Run a cell and return its result and the samples of its frames; every process has ended on return.

    Parameters
    ----------
    cell
        The cell.
    folder
        Folder for logs and scratch files; created if missing.
    attempt
        Number of the attempt, from 1.
    memory_bytes
        Memory that the cell may use; None for what is available.

    Returns
    -------
    The result and the samples. A cell that cannot run has a `failure`; a cell whose detector cannot publish at its rate
    is `invalid`; both have neither figures nor samples.
    """
    started_ns = time.time_ns()

    def without_figures(*, failure: str | None = None, invalid: str | None = None) -> tuple[CellResult, None]:
        return CellResult(
            cell=cell,
            attempt=attempt,
            failure=failure,
            invalid=invalid,
            started_ns=started_ns,
            ended_ns=time.time_ns(),
        ), None

    in_pods = cell.condition.engine in POD_ENGINES
    try:
        if memory_bytes is None:
            # The scheduler of a cluster checks the memory of its nodes.
            memory_bytes = sys.maxsize if in_pods else available_bytes()
        reason = obstacle(cell.condition, memory_bytes)
        if reason is not None:
            return without_figures(failure=reason)
        return result_of(cell, attempt, started_ns, (measure_pods if in_pods else measure)(cell, folder))
    except (UnavailableError, UsageError, OSError, psutil.Error) as error:
        return without_figures(failure=_one_line(error))
    except DetectorTooSlowError as error:
        return without_figures(invalid=str(error))
    except Exception as error:  # noqa: BLE001 - the other cells of the comparison must run
        _log.exception("cell %d failed", cell.number)
        return without_figures(failure=f"unexpected {type(error).__name__}: {_one_line(error)}")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
