"""The inference vertex: turns frames into patches."""

from charon.vertices.inference.processor import FrameProcessor, ModelInfo
from charon.vertices.inference.vertex import InferenceVertex

__all__ = ["FrameProcessor", "InferenceVertex", "ModelInfo"]
