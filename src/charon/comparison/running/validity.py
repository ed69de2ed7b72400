"""Whether the result of a cell may be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from charon.comparison.model import CellResult

MIN_RATE_FRACTION = 0.98
"""Minimum achieved frame rate of the detector, as a fraction of the planned one."""

MIN_LATENESS_NS = 5_000_000
"""A frame that is late by less than this is not counted: the queues of the engines contain many more frames."""

MAX_LATE_FRACTION = 0.02
MIN_LATE_FRAMES = 5
"""Frames that the detector may publish late: this fraction of all frames, but at least this number."""

MAX_OTHER_CPU_FRACTION = 0.1
"""CPU time that other work may use, as a fraction of all cores."""

MAX_CLOCK_JUMP_NS = 2_000_000
"""Maximum change of the system clock between two samples."""

_OTHER_WORK = "other work used"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """What determines whether the result of a cell is valid.

    Parameters
    ----------
    rate_hz, achieved_hz
        Planned and achieved frame rate of the detector; None if it published fewer than two frames.
    planned, published
        Planned and actual number of frames.
    late
        Number of frames that the detector published late, by `count_late`.
    unknown
        Records of frames that the detector never published.
    other_cpu
        CPU used by other work, in cores.
    cores
        Number of cores.
    clock_jump_ns
        Largest change of the system clock between two samples.
    """

    rate_hz: float
    achieved_hz: float | None
    planned: int
    published: int
    late: int
    unknown: int
    other_cpu: float
    cores: int
    clock_jump_ns: int


def count_late(published: NDArray[np.void], rate_hz: float) -> int:
    """Return the number of frames that were published more than one period, and more than 5 ms, late.

    Parameters
    ----------
    published
        Records of the detector, (n,) of `charon.ledger.frame_log.RECORD`, with ids that increase by 1 per period. The
        schedule is that of the most punctual frame.
    rate_hz
        Planned frame rate.
    """
    if not len(published):
        return 0
    first = published[0]
    due_ns = (published["unique_id"] - first["unique_id"]) * (1e9 / rate_hz)
    lateness_ns = published["time_ns"] - first["time_ns"] - due_ns
    return int((lateness_ns - lateness_ns.min() > max(1e9 / rate_hz, MIN_LATENESS_NS)).sum())


def too_slow(achieved_hz: float | None, rate_hz: float) -> str:
    """Return the reason of a detector that published at a lower rate than planned."""
    return (
        f"the detector published {achieved_hz or 0.0:.1f} frames/s instead of {rate_hz:g};"
        " lower the rate or end other work"
    )


def invalid_reason(observation: Observation) -> str | None:
    """Return why a result must not be used, in one line; None if it is valid."""
    return next((reason for violated, reason in _rules(observation) if violated), None)


def was_disturbed(result: CellResult) -> bool:
    """Return whether a result is invalid because of other work on the machine."""
    return result.invalid is not None and result.invalid.startswith(_OTHER_WORK)


def _rules(o: Observation) -> Iterator[tuple[bool, str]]:
    """Yield whether each rule is violated, and the reason; other work first, because it also delays the detector."""
    yield (
        o.other_cpu > MAX_OTHER_CPU_FRACTION * o.cores,
        f"{_OTHER_WORK} {o.other_cpu:.2f} of {o.cores} cores; end it and repeat the cell",
    )
    is_slow = o.planned > 1 and (o.achieved_hz or 0.0) < MIN_RATE_FRACTION * o.rate_hz
    yield is_slow, too_slow(o.achieved_hz, o.rate_hz)
    yield o.published < o.planned, f"the detector published {o.published} of {o.planned} frames; repeat the cell"
    yield (
        o.late > max(MIN_LATE_FRAMES, MAX_LATE_FRACTION * o.published),
        f"the detector published {o.late} of {o.published} frames late; end other work and repeat the cell",
    )
    yield o.unknown > 0, f"the engine has {o.unknown} records of frames that the detector never published"
    yield (
        o.clock_jump_ns > MAX_CLOCK_JUMP_NS,
        f"the system clock jumped by {o.clock_jump_ns / 1e6:.1f} ms; repeat the cell",
    )
