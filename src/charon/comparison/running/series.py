"""Samples of CPU time and memory, and the figures of a time window."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from charon.comparison.model import ProcessFigures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(slots=True)
class ProcessSeries:
    """Samples of one process.

    Parameters
    ----------
    time_ns
        Times, ns since 1970.
    cpu_s
        CPU time since the start of the process.
    rss_bytes
        Resident memory.
    """

    time_ns: list[int] = field(default_factory=list[int])
    cpu_s: list[float] = field(default_factory=list[float])
    rss_bytes: list[int] = field(default_factory=list[int])

    def add(self, time_ns: int, cpu_s: float, rss_bytes: int) -> None:
        """Add a sample."""
        self.time_ns.append(time_ns)
        self.cpu_s.append(cpu_s)
        self.rss_bytes.append(rss_bytes)

    def cpu_between(self, from_ns: int, to_ns: int) -> float:
        """Return the CPU time in s that was used in a window, with linear interpolation between samples."""
        return _increase(self.time_ns, self.cpu_s, from_ns, to_ns)


@dataclass(slots=True)
class MachineSeries:
    """Samples of the machine.

    Parameters
    ----------
    time_ns
        Times, ns since 1970.
    busy_s
        CPU time of all processes.
    clock_offset_ns
        Difference between the system clock and the monotonic clock.
    """

    time_ns: list[int] = field(default_factory=list[int])
    busy_s: list[float] = field(default_factory=list[float])
    clock_offset_ns: list[int] = field(default_factory=list[int])

    def add(self, time_ns: int, busy_s: float, clock_offset_ns: int) -> None:
        """Add a sample."""
        self.time_ns.append(time_ns)
        self.busy_s.append(busy_s)
        self.clock_offset_ns.append(clock_offset_ns)

    def busy_between(self, from_ns: int, to_ns: int) -> float:
        """Return the CPU time in s that was used in a window."""
        return _increase(self.time_ns, self.busy_s, from_ns, to_ns)

    @property
    def clock_jump_ns(self) -> int:
        """Largest change of the system clock against the monotonic clock between two samples."""
        return int(np.abs(np.diff(self.clock_offset_ns)).max(initial=0))


def process_figures(processes: Mapping[str, Sequence[ProcessSeries]], from_ns: int, to_ns: int) -> list[ProcessFigures]:
    """Return the resources of each named process in a window, ordered by name.

    Parameters
    ----------
    processes
        Series by name; a process that was restarted has several.
    from_ns, to_ns
        The window, ns since 1970.
    """
    return [_figures(name, series, from_ns, to_ns) for name, series in sorted(processes.items())]


def _figures(name: str, series: Sequence[ProcessSeries], from_ns: int, to_ns: int) -> ProcessFigures:
    resident = [
        rss_bytes
        for one in series
        for time_ns, rss_bytes in zip(one.time_ns, one.rss_bytes, strict=True)
        if from_ns <= time_ns <= to_ns
    ]
    if not resident:
        # The window is between two samples.
        resident = [one.rss_bytes[-1] for one in series if one.rss_bytes]
    return ProcessFigures(
        name=name,
        cpu_s=round(sum(one.cpu_between(from_ns, to_ns) for one in series), 4),
        rss_max_bytes=max(resident, default=0),
        rss_mean_bytes=round(sum(resident) / len(resident)) if resident else 0,
    )


def _increase(times_ns: Sequence[int], values: Sequence[float], from_ns: int, to_ns: int) -> float:
    """Return the increase of a cumulative value in a window; 0 outside the samples."""
    if not times_ns:
        return 0.0
    # Relative to the first sample, because float64 cannot represent ns since 1970.
    relative_ns = np.array(times_ns, np.int64) - times_ns[0]
    first, last = np.interp([from_ns - times_ns[0], to_ns - times_ns[0]], relative_ns, values)
    return max(0.0, float(last - first))
