"""Inference back ends and model bundles."""

from charon.adapters.inference.backend import Backend, open_backend

__all__ = ["Backend", "open_backend"]
