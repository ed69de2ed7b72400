"""Range of a PromQL range query: start, end and step, split to fit Prometheus's limit of points."""

from __future__ import annotations

from dataclasses import dataclass

from charon.adapters.timestamps import parse_duration
from charon.errors import UsageError

MAX_POINTS = 11_000
"""Maximum number of points per series in one response of Prometheus."""
_STEPS_S = (5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
_MAX_DEFAULT_POINTS = 1000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class QueryRange:
    """Times at which a query is evaluated: from `start_ms` in steps of `step_ms`, up to `end_ms` at most."""

    start_ms: int
    end_ms: int
    step_ms: int

    @property
    def points(self) -> int:
        """Number of evaluation times."""
        return (self.end_ms - self.start_ms) // self.step_ms + 1

    def split(self, max_points: int = MAX_POINTS) -> list[QueryRange]:
        """Return consecutive ranges of at most `max_points` that together contain each evaluation time once."""
        last_ms = self.start_ms + (self.points - 1) * self.step_ms
        starts = range(self.start_ms, last_ms + 1, max_points * self.step_ms)
        return [QueryRange(s, min(s + (max_points - 1) * self.step_ms, last_ms), self.step_ms) for s in starts]


def parse_step(text: str) -> int:
    """Return a step in ms from seconds as a number, or from a duration such as ``15s`` or ``1m30s``.

    Raises
    ------
    UsageError
        If the text is neither, or shorter than 1 ms.
    """
    step_ms = parse_duration(text)
    if step_ms is None:
        raise UsageError(f"{text!r} is not a valid step; use seconds, or a duration such as 15s or 1m")
    if step_ms < 1:
        raise UsageError(f"the step {text!r} is too short; the minimum is 1ms")
    return step_ms


def default_step_ms(duration_ms: int) -> int:
    """Return a step that gives enough points for a smooth curve, and few more than were scraped."""
    if duration_ms <= _MINUTE_MS:
        return 1000
    fitting = (step for step in _STEPS_S if duration_ms <= _MAX_DEFAULT_POINTS * step * 1000)
    return next(fitting, _STEPS_S[-1]) * 1000


def unix_seconds(time_ms: int) -> str:
    """Return a time in the format of Prometheus's API: seconds, exact to the millisecond."""
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds}.{ms:03d}"
