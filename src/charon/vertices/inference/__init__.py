"""The inference vertex."""

from charon.vertices.inference.vertex import InferenceVertex, ModelInfo

__all__ = ["InferenceVertex", "ModelInfo"]
