"""One run of an engine with a detector, from the start of both to the end of the drain."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from charon.comparison.engines import make_driver
from charon.comparison.engines.isolation import isolated_environment
from charon.comparison.running.detector import Detector
from charon.comparison.running.sampler import Sampler
from charon.comparison.running.validity import MIN_RATE_FRACTION, too_slow
from charon.errors import UnavailableError
from charon.ledger.frame_log import FIRST_REJECTED, PROCESSED, STITCHED, UNSTITCHED

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from numpy.typing import NDArray

    from charon.comparison.engines import Driver
    from charon.comparison.model import Cell, Condition
    from charon.comparison.running.detector import DetectorReport
    from charon.comparison.running.interfaces import Resources, RunningDetector

_POLL_INTERVAL_S = 0.1
_START_TIMEOUT_S = 120.0
_DRAIN_TIMEOUT_S = 180.0
_IDLE_TIMEOUT_S = 2.0
# A killed worker loads its network again, and unacknowledged messages are delivered again, before the next result.
_IDLE_TIMEOUT_AFTER_KILL_S = 5.0
# A detector that cannot publish at the planned rate is ended after the longest valid time and this tolerance.
_SCHEDULE_TOLERANCE_S = 2.0


class DetectorTooSlowError(Exception):
    """The detector cannot publish at the planned rate, so the cell has no meaningful figures."""


@dataclass(frozen=True, slots=True)
class Kill:
    """SIGKILL of one process.

    Parameters
    ----------
    process
        Its name.
    time_ns
        Time of the signal, ns since 1970.
    """

    process: str
    time_ns: int


@dataclass(slots=True)
class Measurement:
    """What was recorded during a cell.

    Parameters
    ----------
    published
        Records of the detector, (n,) of `RECORD`.
    records
        Records of the engine, (n,) of `RECORD`.
    report
        The detector's report.
    sampler
        Resources of the processes.
    kill
        The kill of an inference worker, in the part ``recovery``.
    notes
        Observations for the reader of the report.
    """

    published: NDArray[np.void]
    records: NDArray[np.void]
    report: DetectorReport
    sampler: Resources
    kill: Kill | None = None
    notes: list[str] = field(default_factory=list[str])


def measure(cell: Cell, folder: Path) -> Measurement:
    """Run a cell and return what was recorded; every process that was started has ended on return.

    Raises
    ------
    UnavailableError
        If the engine or the detector does not start, or ends during the measurement.
    UsageError
        If the engine does not run on this machine.
    DetectorTooSlowError
        If the detector has not published all frames after the planned time.
    """
    # Absolute: a name that begins with a dash would be an option of the programs.
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    environment = isolated_environment(folder)
    driver = make_driver(cell.condition, folder, environment)
    detector = Detector(cell.condition, cell.seed, folder, environment, client_delay_s=driver.client_delay_s)
    try:
        return Run(cell.condition, driver, detector, lambda: sampling(driver, detector)).run()
    finally:
        # A second interrupt may end the first wait; in the shell, a detector that is left would run for minutes.
        try:
            driver.kill()
        finally:
            detector.kill()


def publishing_s(condition: Condition) -> float:
    """Return the longest time in s from the first frame to the last, with a detector that is fast enough."""
    return (condition.warm_up_s + condition.duration_s) / MIN_RATE_FRACTION + _SCHEDULE_TOLERANCE_S


@contextmanager
def sampling(driver: Driver, detector: Detector) -> Generator[Callable[[], Resources]]:
    """Sample the resources of processes on this machine; yield a function that returns them after the context."""
    with Sampler(driver.processes, detector.pid) as sampler:
        yield lambda: sampler


class Run:
    """One run of an engine with a detector.

    Parameters
    ----------
    condition
        Load and setting.
    driver, detector
        The engine and the detector, not started yet.
    sampling
        Returns a context in which the resources are sampled; it yields a function that returns them afterwards.
    """

    def __init__(
        self,
        condition: Condition,
        driver: Driver,
        detector: RunningDetector,
        sampling: Callable[[], AbstractContextManager[Callable[[], Resources]]],
    ) -> None:
        self._sampling = sampling
        self._condition = condition
        self._driver = driver
        self._detector = detector
        self._started_s = 0.0
        self._kill: Kill | None = None

    def run(self) -> Measurement:
        """Run and return what was recorded.

        Raises
        ------
        UnavailableError, DetectorTooSlowError
            See `measure`.
        """
        notes: list[str] = []
        if not self._detector.start():
            notes.append("the detector has no higher priority than the engine: this user may not increase it")
        self._driver.start()
        self._wait(lambda: len(self._detector.published()) > 0, _START_TIMEOUT_S, "no frame was published")
        self._started_s = time.monotonic()
        with self._sampling() as resources:
            self._wait_until_published()
            self._wait_until_idle()
        notes += self._driver.drain(_DRAIN_TIMEOUT_S)
        report = self._detector.end()
        published, records = self._detector.published(), self._driver.records()
        return Measurement(published, records, report, resources(), self._kill, notes)

    def _wait(self, condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self._require_running()
            if time.monotonic() > deadline_s:
                raise UnavailableError(f"{otherwise} within {timeout_s:.0f} s")
            time.sleep(_POLL_INTERVAL_S)

    def _require_running(self) -> None:
        failure = self._driver.failure() or self._detector.failure()
        if failure is not None:
            raise UnavailableError(failure)

    def _wait_until_published(self) -> None:
        """Wait until all frames are published, or for the planned time; kill a worker in the part ``recovery``."""
        condition = self._condition
        end_s = self._started_s + publishing_s(condition)
        kill_s = self._started_s + condition.warm_up_s + condition.duration_s / 2
        while len(self._detector.published()) < self._detector.frames and time.monotonic() < end_s:
            self._require_running()
            if condition.part == "recovery" and self._kill is None and time.monotonic() >= kill_s:
                self._kill = self._kill_worker()
            time.sleep(_POLL_INTERVAL_S)
        if len(self._detector.published()) < self._detector.frames:
            # Its report is not needed, and a detector whose queues are full may need long to end.
            raise DetectorTooSlowError(too_slow(_rate_hz(self._detector.published()), condition.rate_hz))

    def _kill_worker(self) -> Kill:
        name = self._driver.worker
        pid = self._driver.processes().get(name)
        if pid is None:
            raise UnavailableError(f"cannot kill {name}: it is not running")
        os.kill(pid, signal.SIGKILL)
        return Kill(name, time.time_ns())

    def _wait_until_idle(self) -> None:
        """Wait until every published frame has a result, or no record has been added for some time."""
        idle_s = _IDLE_TIMEOUT_S if self._kill is None else _IDLE_TIMEOUT_AFTER_KILL_S
        deadline_s = time.monotonic() + _DRAIN_TIMEOUT_S
        count, changed_s = -1, time.monotonic()
        while time.monotonic() < min(deadline_s, changed_s + idle_s):
            self._require_running()
            records = self._driver.records()
            if len(records) != count:
                count, changed_s = len(records), time.monotonic()
                if self._finished(records) >= len(self._detector.published()):
                    return
            time.sleep(_POLL_INTERVAL_S)

    def _finished(self, records: NDArray[np.void]) -> int:
        """Return the number of frames that will have no further result."""
        last = (STITCHED, UNSTITCHED) if self._condition.stitch else (PROCESSED,)
        outcome = records["outcome"]
        is_last = np.isin(outcome, last) | (outcome >= FIRST_REJECTED)
        return len(np.unique(records[["unique_id", "time_ns"]][is_last]))


def _rate_hz(published: NDArray[np.void]) -> float | None:
    """Return the rate of published frames, (n,) of `RECORD`; None for fewer than two."""
    times_ns = published["time_ns"]
    span_ns = int(times_ns[-1] - times_ns[0]) if len(times_ns) > 1 else 0
    return (len(times_ns) - 1) * 1e9 / span_ns if span_ns > 0 else None
