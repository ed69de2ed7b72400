"""Frames, patches and their wire form: plain values, no I/O."""

from charon.frames.errors import BadFrameError, Reason, UnavailableError, UsageError
from charon.frames.idset import IdSet
from charon.frames.model import (
    Frame,
    FrameId,
    LatePosition,
    Message,
    Patch,
    Position,
    Rejection,
    Scalar,
    named_time_ns,
)
from charon.frames.wire import WireError, decode, encode

__all__ = [
    "BadFrameError",
    "Frame",
    "FrameId",
    "IdSet",
    "LatePosition",
    "Message",
    "Patch",
    "Position",
    "Reason",
    "Rejection",
    "Scalar",
    "UnavailableError",
    "UsageError",
    "WireError",
    "decode",
    "encode",
    "named_time_ns",
]
