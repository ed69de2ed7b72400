"""charonctl detector: a detector made of software."""

from charon.cli.detector.options import detector

__all__ = ["detector"]
