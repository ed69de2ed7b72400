"""Inference back ends and model bundles."""

from charon.adapters.inference.backend import Backend, open_backend
from charon.adapters.inference.telemetry import disable_telemetry

# Every import of a back end passes through this package, so none of them can be imported earlier.
disable_telemetry()

__all__ = ["Backend", "open_backend"]
