"""Inference back ends and the model bundles that they run."""

from charon.adapters.inference.backend import Backend, open_backend

__all__ = ["Backend", "open_backend"]
