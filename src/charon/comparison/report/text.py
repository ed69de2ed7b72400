"""Numbers, times and ratios as text."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.comparison.evaluation import MaximumRow
    from charon.comparison.model import FrameCounts
    from charon.comparison.statistics import Ratio

ABSENT = "–"  # noqa: RUF001 - an en dash, as tables print absent values


def number(value: float | None, digits: int = 3) -> str:
    """Return a number with significant digits and separators of thousands."""
    if value is None or not math.isfinite(value):
        return ABSENT
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def milliseconds(value: float | None) -> str:
    """Return a time in ms, or in s from 10 s."""
    if value is not None and value >= 10_000:
        return f"{number(value / 1e3)} s"
    return ABSENT if value is None else f"{number(value)} ms"


def seconds(value: float | None) -> str:
    """Return a time in s."""
    return ABSENT if value is None else f"{number(value)} s"


def limit(row: MaximumRow) -> str:
    """Return a highest loss-free rate in frames/s, or the limit that is known of it."""
    if row.loss_free_hz is None:
        return f"below {number(row.lossy_hz)}"
    return f"at least {number(row.loss_free_hz)}" if row.is_bound else number(row.loss_free_hz)


def frame_rate(value: float | None) -> str:
    """Return a frame rate."""
    return ABSENT if value is None else f"{rate_number(value)} frames/s"


def mebibytes(value: float | None) -> str:
    """Return a number of bytes in MiB."""
    return ABSENT if value is None else f"{number(value / 2**20)} MiB"


def loss(counts: FrameCounts, unit: str = "") -> str:
    """Return the number of frames without a result, of how many, and as a percentage."""
    of = f"{counts.without_result:,} of {counts.published:,}{unit and ' '}{unit}"
    if not counts.without_result:
        return of
    return f"{of} ({number(100 * counts.without_result / counts.published, 2)} %)"


def ratio(value: Ratio | None) -> str:
    """Return a ratio with its confidence interval."""
    if value is None:
        return ABSENT
    return f"{factor(value.value)} ({interval(value) or 'no interval'})"


def interval(value: Ratio) -> str:
    """Return the confidence interval of a ratio; empty without one."""
    return "" if value.low is None or value.high is None else f"{factor(value.low)} to {factor(value.high)}"


def factor(value: float) -> str:
    """Return a ratio with two decimals; with two significant digits if it is very small or large."""
    return f"{value:.2f}" if 0.1 <= value < 100 else number(value, 2)


def utc(time_ns: int | None) -> str:
    """Return a time in UTC, to the second."""
    return ABSENT if time_ns is None else f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def listing(parts: Sequence[str]) -> str:
    """Return parts as a list within a sentence: ``a``, ``a and b``, ``a, b and c``."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def rate_number(value: float) -> str:
    """Return a frame rate as a number without its unit."""
    return f"{value:,.4g}" if value < 10_000 else f"{value:,.0f}"


def is_clear(value: Ratio | None) -> bool:
    """Return whether a ratio has a confidence interval that excludes 1."""
    return value is not None and value.covers_1 is False
