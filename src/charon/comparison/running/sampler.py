"""Resources of a cell's processes and of the machine, sampled on a thread.

With six processes, one sample needs about 1 ms of CPU time, so the sampler uses less than 1 % of a core.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

from charon.comparison.running.series import MachineSeries, ProcessSeries
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Self

SAMPLE_INTERVAL_S = 0.25
_CLOCK_READS = 5


class Sampler:
    """Samples processes until it is stopped.

    Parameters
    ----------
    find
        Returns the process ids of the engine by name; called at the start, while a known process is missing, and again
        if it raises `UnavailableError`.
    detector
        Process id of the detector.
    interval_s
        Time between two samples.
    """

    def __init__(
        self, find: Callable[[], Mapping[str, int]], detector: int, *, interval_s: float = SAMPLE_INTERVAL_S
    ) -> None:
        self._find = find
        self._interval_s = interval_s
        self._detector = psutil.Process(detector)
        self._own = psutil.Process()
        self._known: dict[str, psutil.Process] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._error: Exception | None = None
        self._is_located = False
        self.processes: dict[str, list[ProcessSeries]] = {}
        self.detector = ProcessSeries()
        self.own = ProcessSeries()
        self.machine = MachineSeries()
        self.cores = os.cpu_count() or 1
        self.cpu_s = 0.0

    def __enter__(self) -> Self:
        self._locate()
        self._sample()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error
        self._sample()

    def _run(self) -> None:
        try:
            while not self._stop.wait(self._interval_s):
                self._sample()
                self.cpu_s = time.thread_time()
        except Exception as error:  # noqa: BLE001 - raised again at the end of the context
            self._error = error

    def _locate(self) -> None:
        try:
            found = self._find()
        except UnavailableError:
            self._is_located = False
            return
        self._is_located = True
        for name, pid in found.items():
            known = self._known.get(name)
            if known is not None and known.pid == pid:
                continue
            with suppress(psutil.Error):
                process = psutil.Process(pid)
                series = ProcessSeries()
                # A process that has just been restarted has used no CPU time before its start.
                # It is computed from the time of the boot, which changes when the clock is set.
                started_ns = min(round(process.create_time() * 1e9), time.time_ns())
                series.add(started_ns, 0.0, process.memory_info().rss)
                self._known[name] = process
                self.processes.setdefault(name, []).append(series)

    def _sample(self) -> None:
        time_ns = time.time_ns()
        present = [_add(process, self.processes[name][-1], time_ns) for name, process in self._known.items()]
        _add(self._detector, self.detector, time_ns)
        _add(self._own, self.own, time_ns)
        self.machine.add(time_ns, _busy_s(), clock_offset_ns())
        if not (self._is_located and all(present)):
            self._locate()


def clock_offset_ns() -> int:
    """Return the difference between the system clock and the monotonic clock; it changes only if the clock is set."""
    best_ns, offset_ns = None, 0
    for _ in range(_CLOCK_READS):
        # This thread may be suspended between the two readings.
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        duration_ns = time.monotonic_ns() - before_ns
        if best_ns is None or duration_ns < best_ns:
            best_ns, offset_ns = duration_ns, wall_ns - before_ns - duration_ns // 2
    return offset_ns


def _add(process: psutil.Process, series: ProcessSeries, time_ns: int) -> bool:
    """Add a sample of a process; return whether the process is running."""
    try:
        with process.oneshot():
            times = process.cpu_times()
            rss_bytes = process.memory_info().rss
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
    except psutil.Error:
        return False
    series.add(time_ns, times.user + times.system, rss_bytes)
    return True


def _busy_s() -> float:
    """Return the CPU time that all processes of the machine have used, and the time that other machines have used.

    Time in interrupts is excluded: the kernel does not count it for a process.
    """
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + getattr(times, "steal", 0.0)
