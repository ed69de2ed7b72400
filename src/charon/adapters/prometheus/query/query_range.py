"""Times and steps as Prometheus's users type them, and spans that fit its limit of points.

Times are integers of milliseconds since 1970: that is how Prometheus keeps them, and sums of them are exact.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from charon.errors import UsageError

MOST_POINTS = 11_000
"""Most points a series that Prometheus gives in one answer."""
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
_PART = re.compile(r"(\d+)(ms|[smhdwy])")
# Of so many digits that each is a number that there can be.
_NUMBER = re.compile(r"\d{1,18}(?:\.\d{0,18})?", re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)?")
_LAST_MS = 253_402_300_799_999
_GOOD_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_PLENTY = 1000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Span:
    """Moments at which a query is evaluated: from `start_ms` in steps of `step_ms`, up to `end_ms` at most."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def points(self) -> int:
        """How many moments these are."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1

    def split(self, most: int = MOST_POINTS) -> list[Span]:
        """Return spans of at most so many points that have the same moments together, each once."""
        last_ms = self.start_ms + (self.points - 1) * self.step_ms
        starts = range(self.start_ms, last_ms + 1, most * self.step_ms)
        return [Span(s, min(s + (most - 1) * self.step_ms, last_ms), self.step_ms) for s in starts]


def parse_time(text: str, now_ms: int) -> int:
    """Return a time in ms since 1970: RFC 3339 with zone, Unix seconds, ``now``, or relative such as ``-15m``.

    Raises
    ------
    UsageError
        If it is none of these.
    """
    text = text.strip()
    if text == "now":
        return now_ms
    if _NUMBER.fullmatch(text):
        return _in_range(round(float(text) * 1000), text)
    if text.startswith("-") and _DURATION.fullmatch(text[1:]):
        return _in_range(now_ms - _sum_ms(text[1:]), text)
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} is no time: give 2025-08-18T14:47:57Z, Unix seconds, or a relative one such as -15m"
        )
    day, clock, fraction, zone = found.groups()
    if zone is None:
        raise UsageError(f"the time {text!r} has no zone: end it with Z (UTC) or an offset such as +01:00")
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{'+00:00' if zone in 'Zz' else zone}")
    except ValueError as error:
        raise UsageError(f"{text!r} is no time: {error}") from error
    return _in_range(round(moment.timestamp()) * 1000 + int((fraction or "0").ljust(3, "0")[:3]), text)


def parse_step(text: str) -> int:
    """Return a step in ms: seconds as a number, or with units such as ``15s`` or ``1m30s``.

    Raises
    ------
    UsageError
        If it is neither, or not at least 1 ms.
    """
    text = text.strip()
    if _NUMBER.fullmatch(text):
        step_ms = round(float(text) * 1000)
    elif _DURATION.fullmatch(text):
        step_ms = _sum_ms(text)
    else:
        raise UsageError(f"{text!r} is no step: give seconds, or a duration such as 15s or 1m")
    if step_ms < 1:
        raise UsageError(f"a step of {text!r} leads nowhere: give at least 1ms")
    return step_ms


def default_step_ms(span_ms: int) -> int:
    """Return a step that gives enough points to draw a curve of, and not many more than were scraped."""
    if span_ms <= _MINUTE_MS:
        return 1000
    fitting = (step for step in _GOOD_STEPS_S if span_ms <= _PLENTY * step * 1000)
    return next(fitting, _GOOD_STEPS_S[-1]) * 1000


def rfc3339(time_ms: int) -> str:
    """Return a time in UTC, as ``2025-08-18T14:47:57Z``; with milliseconds where there are any."""
    seconds, ms = divmod(time_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{ms:03d}Z" if ms else f"{text}Z"


def unix_seconds(time_ms: int) -> str:
    """Return a time as Prometheus's API takes it: seconds, exact to the millisecond."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds}.{ms:03d}"


def _sum_ms(text: str) -> int:
    return sum(int(number) * _UNITS_MS[unit] for number, unit in _PART.findall(text))


def _in_range(time_ms: int, text: str) -> int:
    if 0 <= time_ms <= _LAST_MS:
        return time_ms
    hint = "; Unix times are in seconds here" if text.isdigit() else ""
    raise UsageError(f"the time {text!r} is not between 1970 and 9999{hint}")
