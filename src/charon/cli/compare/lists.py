"""Click parameter types of comma-separated lists."""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from collections.abc import Sequence


class Names(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """Comma-separated names, each at most once.

    Parameters
    ----------
    known
        The accepted names.
    """

    name = "names"

    def __init__(self, known: Sequence[str]) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:  # noqa: ANN401 - as in click
        """Return the names in the given order."""
        names = [name.strip() for name in str(value).split(",")]
        for name in names:
            if name not in self._known:
                nearest = get_close_matches(name, self._known, n=1)
                hint = f"did you mean {nearest[0]}?" if nearest else f"use {', '.join(self._known)}"
                self.fail(f"unknown name {name!r}; {hint}", param, ctx)
        return _distinct(self, names, param, ctx)


class Rates(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """Comma-separated positive frame rates in Hz, each at most once."""

    name = "rates"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:  # noqa: ANN401 - as in click
        """Return the rates in ascending order."""
        rates: list[float] = []
        for text in str(value).split(","):
            try:
                rate_hz = float(text)
            except ValueError:
                self.fail(f"{text.strip()!r} is not a number; use rates such as 50,100", param, ctx)
            if not (math.isfinite(rate_hz) and rate_hz > 0):
                self.fail(f"{text.strip()}: must be a positive number of frames/s", param, ctx)
            rates.append(rate_hz)
        return sorted(_distinct(self, rates, param, ctx))


def _distinct(
    kind: click.ParamType,  # pyright: ignore[reportMissingTypeArgument, reportUnknownParameterType]
    items: list[Any],
    param: click.Parameter | None,
    ctx: click.Context | None,
) -> list[Any]:
    repeated = next((item for k, item in enumerate(items) if item in items[:k]), None)
    if repeated is not None:
        shown = f"{repeated:g}" if isinstance(repeated, float) else repeated
        cast("Any", kind).fail(f"{shown} is given twice; remove one", param, ctx)
    return items
