"""Time stamps: pvAccess's seconds and ns since 1970, and what else detectors put there."""

from __future__ import annotations

from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.frames.fields import INT64

_NS = 1_000_000_000
_EPICS_EPOCH_S = 631_152_000
"""1990-01-01 in seconds since 1970."""
_DAY_S = 86_400


def time_ns_from(pv: PvStructure, field: str) -> int | None:
    """Return a ``time_t`` field as ns since 1970, None where it is missing, was never set or is no time.

    What 64 bits of ns do not hold is no time: nothing further on has room for it.
    """
    if not pv.hasField(field):
        return None
    seconds, ns = int(pv[f"{field}.secondsPastEpoch"]), int(pv[f"{field}.nanoseconds"])
    # An EPICS time that was never set reads as 1990 sharp.
    time_ns = seconds * _NS + ns
    return None if (seconds, ns) in ((0, 0), (_EPICS_EPOCH_S, 0)) or time_ns not in INT64 else time_ns


def stamp_from(time_ns: int) -> PvStructure:
    """Return ns since 1970 as a ``time_t``."""
    return pva.PvTimeStamp(time_ns // _NS, time_ns % _NS, 0)


def detector_time_ns(pv: PvStructure) -> int:
    """Return the detector's time stamp in ns since 1970, 0 where it sends none."""
    published = time_ns_from(pv, "timeStamp")
    taken = time_ns_from(pv, "dataTimeStamp")
    if taken is None:
        return published or 0
    # Older ADCore copied the camera's EPICS time, counted from 1990, into dataTimeStamp and converted
    # timeStamp alone: twenty years between the two are that, and nothing else.
    if published is not None and abs(published - taken - _EPICS_EPOCH_S * _NS) < _DAY_S * _NS:
        return taken + _EPICS_EPOCH_S * _NS
    return taken
