"""The driver of each engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.comparison.engines.baseline import BaselineDriver
from charon.comparison.engines.embedded import EmbeddedDriver
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from charon.comparison.engines.driver import Driver
    from charon.comparison.model import Condition

_DRIVERS: dict[str, Callable[[Condition, Path, dict[str, str]], Driver]] = {
    "embedded": EmbeddedDriver,
    "baseline": BaselineDriver,
}

MEASURABLE = (*_DRIVERS, "baseline-pods")
"""Engines that can be measured: on this machine with a driver, in pods by `charon.comparison.running.pods`."""


def make_driver(condition: Condition, folder: Path, environment: dict[str, str]) -> Driver:
    """Return the driver of a condition's engine, not started yet.

    Raises
    ------
    UsageError
        If the engine does not run on this machine.
    """
    create = _DRIVERS.get(condition.engine)
    if create is None:
        engines = ", ".join(_DRIVERS)
        raise UsageError(f"engine {condition.engine!r} does not run on one machine; use one of {engines}")
    return create(condition, folder, environment)
