"""Parse and format the times and durations that users type.

Times are integers of milliseconds since 1970, because Prometheus stores them in that form and their sums are exact.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from charon.errors import UsageError

_UNITS_MS = {
    "ms": 1,
    "s": 1_000,
    "m": 60_000,
    "h": 3_600_000,
    "d": 86_400_000,
    "w": 604_800_000,
    "y": 31_536_000_000,
}
_DURATION = re.compile(r"(?:\d{1,18}(?:ms|[smhdwy]))+", re.ASCII)
_DURATION_PART = re.compile(r"(\d+)(ms|[smhdwy])")
# At most 18 digits: longer numbers overflow a float or exceed Python's limit for integers in text.
_SECONDS = re.compile(r"\d{1,18}(?:\.\d{0,18})?", re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?")
_MAX_TIME_MS = 253_402_300_799_999  # the end of the year 9999


def parse_time(text: str, now_ms: int) -> int:
    """Return a time in ms since 1970 from RFC 3339 with zone, Unix seconds, ``now``, or a relative time (``-15m``).

    Raises
    ------
    UsageError
        If the text is not a time in one of these formats, or not between 1970 and 9999.
    """
    text = text.strip()
    if text == "now":
        return now_ms
    if _SECONDS.fullmatch(text):
        return _in_range(round(float(text) * 1000), text)
    if text.startswith("-") and _DURATION.fullmatch(text[1:]):
        return _in_range(now_ms - _duration_ms(text[1:]), text)
    return _in_range(_parse_rfc3339(text), text)


def parse_duration(text: str) -> int | None:
    """Return a duration in ms from seconds (``15``, ``0.5``) or units (``1m30s``); None if the text is neither."""
    text = text.strip()
    if _SECONDS.fullmatch(text):
        return round(float(text) * 1000)
    return _duration_ms(text) if _DURATION.fullmatch(text) else None


def rfc3339(time_ms: int) -> str:
    """Return a time in UTC, such as ``2025-08-18T14:47:57Z``, with milliseconds if they are not zero."""
    seconds, ms = divmod(time_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def _parse_rfc3339(text: str) -> int:
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise UsageError(
            f"{text!r} is not a valid time; use 2025-08-18T14:47:57Z, Unix seconds, or a relative time such as -15m"
        )
    day, clock, fraction, zone = match.groups()
    if zone is None:
        raise UsageError(f"the time {text!r} has no zone; add Z (UTC) or an offset such as +01:00")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError as error:
        raise UsageError(f"{text!r} is not a valid time: {error}") from error
    return round(moment.timestamp()) * 1000 + int((fraction or "0").ljust(3, "0")[:3])


def _duration_ms(text: str) -> int:
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _DURATION_PART.findall(text))


def _in_range(time_ms: int, text: str) -> int:
    if 0 <= time_ms <= _MAX_TIME_MS:
        return time_ms
    hint = "; Unix times are in seconds" if text.isdigit() else ""
    raise UsageError(f"the time {text!r} is not between 1970 and 9999{hint}")
