"""Click parameter types shared by the commands."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, cast

import click

from charon.resources import resolve

_MAX_SECONDS = 1e7
_SHAPE = re.compile(r"0*([1-9][0-9]*)x0*([1-9][0-9]*)")


class FiniteRange(click.FloatRange):
    """Range of numbers without NaN and infinity, which `click.FloatRange` accepts."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as in click
        """Return the number."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Seconds(FiniteRange):
    """Duration in s.

    Parameters
    ----------
    min_s
        Smallest accepted value.
    """

    def __init__(self, min_s: float = 0) -> None:
        super().__init__(min_s)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401 - as in click
        """Return the duration."""
        seconds = super().convert(value, param, ctx)
        if seconds > _MAX_SECONDS:
            self.fail(f"{value}: must be at least {self.min:g} and at most {_MAX_SECONDS:.0f} s", param, ctx)
        return seconds


# click.ParamType is not generic before click 8.4, and its type parameters changed in 8.5.
class Numbers(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """Comma-separated numbers and ranges: ``7,10-12``."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[int]:  # noqa: ANN401 - as in click
        """Return the set of numbers."""
        if isinstance(value, frozenset):  # the default
            return cast("frozenset[int]", value)
        try:
            return parse_numbers(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Shape(click.ParamType):  # pyright: ignore[reportMissingTypeArgument]
    """Two positive numbers, such as ``48x48``.

    Parameters
    ----------
    form
        Placeholder in help texts, such as ``ROWSxCOLUMNS``.
    """

    name = "shape"

    def __init__(self, form: str) -> None:
        self._form = form

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return the placeholder."""
        return self._form

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:  # noqa: ANN401 - as in click
        """Return both numbers."""
        match = _SHAPE.fullmatch(str(value).lower())
        if match is None:
            self.fail(f"{value!r} is not {self._form} with positive numbers, such as 48x48", param, ctx)
        return int(match[1]), int(match[2])


def parse_numbers(text: str) -> frozenset[int]:
    """Return the numbers in a text such as ``7,10-12``.

    Raises
    ------
    ValueError
        If the text is not a list of numbers and ranges, or a range is reversed.
    """
    numbers: set[int] = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        try:
            span = range(int(first), int(last or first) + 1)
        except ValueError as error:
            raise ValueError(f"{text!r} is not a list of numbers such as 7,10-12") from error
        if not span:
            raise ValueError(f"{part!r} is a reversed range; use {last}-{first}")
        numbers.update(span)
    return frozenset(numbers)


def is_set(ctx: click.Context, name: str) -> bool:
    """Return whether a parameter is given on the command line."""
    return ctx.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE


def resolve_shipped(path: str | Path) -> Path:
    """Return the path, or the shipped file of that name if the path is missing, and report this on stderr."""
    resolved = resolve(path)
    if resolved != Path(path):
        click.echo(f"{path}: not found; using the copy shipped with Charon", err=True)
    return resolved


def resolve_shipped_name(name: str) -> str:
    """Return the path of the shipped file that replaces a missing one, else the name (such as a URL) unchanged."""
    resolved = resolve_shipped(name)
    return name if resolved == Path(name) else str(resolved)


def _is_default(param: click.Parameter | None, ctx: click.Context | None) -> bool:
    if param is None or ctx is None:
        return False
    return ctx.get_parameter_source(param.name) is click.core.ParameterSource.DEFAULT


class ShippedPath(click.Path):
    """Path of a file; a missing ``workflows/...`` or ``ansible/...`` resolves to the file that ships with Charon."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:  # noqa: ANN401 - as in click
        """Return the path."""
        resolved = resolve(value) if _is_default(param, ctx) else resolve_shipped(value)
        return cast("Path", super().convert(resolved, param, ctx))


class ShippedName(click.types.StringParamType):
    """File or URL; a missing ``workflows/...`` is the manifest that ships with Charon."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:  # noqa: ANN401 - as in click
        """Return the name."""
        return resolve_shipped_name(str(super().convert(value, param, ctx)))
