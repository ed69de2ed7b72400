"""The environment variables of this process. No other module of Charon reads or sets them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def get(name: str, default: str = "") -> str:
    """Return the value of a variable, or `default` if it is not set."""
    return os.environ.get(name, default)


def copy() -> dict[str, str]:
    """Return all variables, for a child process."""
    return dict(os.environ)


def set_defaults(values: Mapping[str, str]) -> None:
    """Set variables that are not set yet, for libraries that read them in this process."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def update(values: Mapping[str, str]) -> None:
    """Set variables for libraries that read them in this process, and for its child processes."""
    os.environ.update(values)
