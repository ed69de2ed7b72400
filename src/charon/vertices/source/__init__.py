"""The source vertex: reads the detector's channel and publishes its frames."""

from charon.vertices.source.ring import Update
from charon.vertices.source.vertex import SourceVertex

__all__ = ["SourceVertex", "Update"]
