"""Conversion of pvAccess time stamps, including those that detectors count from 1990."""

from __future__ import annotations

from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.frames.fields import INT64

_NS = 1_000_000_000
_EPICS_EPOCH_S = 631_152_000
"""1990-01-01 in seconds since 1970."""
_DAY_S = 86_400


def read_time_ns(pv: PvStructure, field: str) -> int | None:
    """Return a ``time_t`` field as ns since 1970, None if it is missing, was never set or exceeds 64 bits."""
    if not pv.hasField(field):
        return None
    seconds, ns = int(pv[f"{field}.secondsPastEpoch"]), int(pv[f"{field}.nanoseconds"])
    # An EPICS time that was never set is 1990-01-01 00:00:00.
    time_ns = seconds * _NS + ns
    return None if (seconds, ns) in ((0, 0), (_EPICS_EPOCH_S, 0)) or time_ns not in INT64 else time_ns


def build_time_stamp(time_ns: int) -> PvStructure:
    """Return a ``time_t`` structure of ns since 1970."""
    return pva.PvTimeStamp(time_ns // _NS, time_ns % _NS, 0)


def detector_time_ns(pv: PvStructure) -> int:
    """Return the detector's time stamp in ns since 1970, 0 if it sends none."""
    published = read_time_ns(pv, "timeStamp")
    acquired = read_time_ns(pv, "dataTimeStamp")
    if acquired is None:
        return published or 0
    # Older ADCore versions copied the camera's EPICS time, counted from 1990, into dataTimeStamp and converted
    # only timeStamp: the two then differ by twenty years.
    if published is not None and abs(published - acquired - _EPICS_EPOCH_S * _NS) < _DAY_S * _NS:
        return acquired + _EPICS_EPOCH_S * _NS
    return acquired
