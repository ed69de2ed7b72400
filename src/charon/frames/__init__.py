"""Frames, patches and their wire format: plain values, no I/O."""

from charon.frames.model import (
    Frame,
    FrameId,
    LatePosition,
    Message,
    Patch,
    Position,
    Rejection,
    Scalar,
    detector_time_ns,
)
from charon.frames.wire import WireError, decode, encode

__all__ = [
    "Frame",
    "FrameId",
    "LatePosition",
    "Message",
    "Patch",
    "Position",
    "Rejection",
    "Scalar",
    "WireError",
    "decode",
    "detector_time_ns",
    "encode",
]
