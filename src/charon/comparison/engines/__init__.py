"""The engines that a comparison measures, each started as a user would start it."""

from charon.comparison.engines.driver import Driver
from charon.comparison.engines.selection import MEASURABLE, make_driver

__all__ = ["MEASURABLE", "Driver", "make_driver"]
