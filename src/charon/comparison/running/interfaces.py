"""What a run requires of the detector and of the resources, on one machine and in pods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from charon.comparison.running.detector import DetectorReport
    from charon.comparison.running.series import ProcessSeries


class Machine(Protocol):
    """Busy time of the machine or the nodes."""

    @property
    def clock_jump_ns(self) -> int:
        """Largest change of the system clock between two samples."""
        ...

    def busy_between(self, from_ns: int, to_ns: int) -> float:
        """Return the CPU time in s that was used in a window."""
        ...


class Resources(Protocol):
    """Resources of the engine's processes by name, of the detector, of this process and of the machine."""

    @property
    def processes(self) -> Mapping[str, Sequence[ProcessSeries]]:
        """The engine's processes; a process that was restarted has several series."""
        ...

    @property
    def detector(self) -> ProcessSeries:
        """The detector."""
        ...

    @property
    def own(self) -> ProcessSeries:
        """The process that measures."""
        ...

    @property
    def machine(self) -> Machine:
        """The machine."""
        ...

    @property
    def cores(self) -> int:
        """Number of cores."""
        ...


class RunningDetector(Protocol):
    """What a run requires of the detector."""

    frames: int

    def start(self) -> bool:
        """Start it; return whether it has the highest priority that the user may set."""
        ...

    def failure(self) -> str | None:
        """Return why it has ended, or None while it runs."""
        ...

    def published(self) -> NDArray[np.void]:
        """Return the records of the frames that it has published so far."""
        ...

    def end(self) -> DetectorReport:
        """End it and return its report."""
        ...
