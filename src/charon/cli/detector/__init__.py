"""``charonctl detector``: a simulated detector."""

from charon.cli.detector.options import detector

__all__ = ["detector"]
