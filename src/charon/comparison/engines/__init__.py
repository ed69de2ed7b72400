"""The engines that a comparison measures, each started as a user would start it."""

from charon.comparison.engines.driver import Driver
from charon.comparison.engines.selection import make_driver

__all__ = ["Driver", "make_driver"]
