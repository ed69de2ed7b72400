"""Kinds of values that options take."""

from __future__ import annotations

from typing import Any

import click

_MOST_S = 1e7


class Seconds(click.FloatRange):
    """A time in s that a clock can be asked to reach: neither endless nor NaN, which no range keeps out.

    Parameters
    ----------
    least_s
        The shortest.
    """

    def __init__(self, least_s: float = 0) -> None:
        super().__init__(least_s)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as click has it
        """Return the time."""
        seconds: float = super().convert(value, param, ctx)
        if not seconds <= _MOST_S:
            self.fail(f"{value!r} is no number of seconds that can be waited for", param, ctx)
        return seconds
