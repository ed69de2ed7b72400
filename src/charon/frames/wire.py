"""Wire format of all messages between vertices: CBOR with RFC 8746 typed arrays.

A message is contained in the payload alone, because Numaflow's maps cannot set headers. Arrays are row-major and
little-endian, tagged with their element type; no value is cast.

References
----------
RFC 8949 (CBOR), doi:10.17487/RFC8949; RFC 8746 (typed arrays), doi:10.17487/RFC8746.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, cast

import cbor2
import numpy as np

from charon.frames.fields import Fields, integer, integers, mapping, number, sequence, text
from charon.frames.model import Frame, FrameId, LatePosition, Message, Patch, Rejection, Scalar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charon.frames.model import Position

VERSION = 1
_ROW_MAJOR = 40
_DTYPE_OF_TAG: dict[int, np.dtype[Any]] = {
    64: np.dtype("u1"),
    69: np.dtype("<u2"),
    70: np.dtype("<u4"),
    71: np.dtype("<u8"),
    72: np.dtype("i1"),
    77: np.dtype("<i2"),
    78: np.dtype("<i4"),
    79: np.dtype("<i8"),
    84: np.dtype("<f2"),
    85: np.dtype("<f4"),
    86: np.dtype("<f8"),
}
_TAG_OF_DTYPE = {dtype: tag for tag, dtype in _DTYPE_OF_TAG.items()}
# Errors that cbor2 raises for invalid bytes: its own, and those of the types that tags represent.
_CBOR_ERRORS = (
    cbor2.CBORDecodeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class WireError(ValueError):
    """A payload is not a valid message, or a message cannot be encoded."""


def encode(message: Message) -> bytes:
    """Return the message in its wire format.

    Raises
    ------
    WireError
        If RFC 8746 has no tag for the element type of an array.
    """
    match message:
        case LatePosition():
            fields = {
                "v": VERSION,
                "kind": "position",
                "channel": message.channel,
                "time": message.time_ns,
                "position": message.position_m,
            }
        case Rejection():
            fields = _header("rejection", message) | {
                "reason": message.reason,
                "detail": message.detail,
                "vertex": message.vertex,
            }
        case Frame():
            fields = _header("frame", message) | _metadata(message) | {"image": _tagged(message.image)}
        case Patch():
            fields = (
                _header("patch", message)
                | _metadata(message)
                | {
                    "run": message.run,
                    "pixel": message.pixel_m,
                    "model": message.model,
                    "phase": _tagged(message.phase),
                    "amplitude": None if message.amplitude is None else _tagged(message.amplitude),
                }
            )
    return cbor2.dumps(fields)


def _header(kind: str, message: Frame | Patch | Rejection) -> dict[str, object]:
    i = message.id
    return {
        "v": VERSION,
        "kind": kind,
        "id": [i.channel, i.unique_id, i.time_ns, i.epoch_ns],
        "scan": message.scan,
        "times": dict(message.times_ns),
    }


def _metadata(message: Frame | Patch) -> dict[str, object]:
    return {"position": message.position_m, "attributes": dict(message.attributes)}


def decode(payload: bytes) -> Message:
    """Return the message of a payload; its arrays are read-only.

    Raises
    ------
    WireError
        If the payload is damaged, is not a message, or has another version.
    """
    try:
        document: object = cbor2.loads(payload, tag_hook=_untagged)
    except WireError:
        raise
    except _CBOR_ERRORS as error:
        raise WireError(f"invalid CBOR in {len(payload)} bytes: {error.__cause__ or error}") from error
    if not isinstance(document, dict):
        raise WireError(f"expected a CBOR map, got {type(document).__name__}")
    message = cast("Fields", document)
    version, kind = message.get("v"), message.get("kind")
    if not isinstance(version, int) or version != VERSION:
        raise WireError(f"unknown version {version!r} of the wire format (supported: {VERSION})")
    build = _BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        raise WireError(f"unknown kind of message: {kind!r}")
    try:
        return build(message)
    except KeyError as error:
        raise WireError(f"{kind}: field {error} is missing") from error
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"{kind}: {error}") from error


def _tagged(array: NDArray[Any]) -> cbor2.CBORTag:
    """Return a multi-dimensional array as RFC 8746 tag 40 around a typed array."""
    dtype = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
    tag = _TAG_OF_DTYPE.get(dtype)
    if tag is None:
        raise WireError(f"the wire format does not support arrays of {array.dtype}")
    data = np.ascontiguousarray(array, dtype=dtype)
    return cbor2.CBORTag(_ROW_MAJOR, [list(array.shape), cbor2.CBORTag(tag, data.tobytes())])


def _untagged(tag: cbor2.CBORTag, *_: object) -> object:
    value: object = tag.value
    dtype = _DTYPE_OF_TAG.get(tag.tag)
    if dtype is not None:
        if not isinstance(value, bytes) or len(value) % dtype.itemsize:
            raise WireError(f"typed array of {dtype}: length is not a multiple of {dtype.itemsize} bytes")
        return np.frombuffer(value, dtype=dtype)
    return _shaped(value) if tag.tag == _ROW_MAJOR else tag


def _shaped(value: object) -> NDArray[Any]:
    """Return the array of RFC 8746 tag 40."""
    try:
        shape, flat = sequence(value, "tag 40", 2)
        dimensions = sequence(shape, "shape")
    except TypeError as error:
        raise WireError(f"multi-dimensional array: {error}") from error
    if not all(isinstance(n, int) and n >= 0 for n in dimensions):
        raise WireError("multi-dimensional array: dimensions are not non-negative integers")
    sides = cast("tuple[int, ...]", tuple(dimensions))
    if not isinstance(flat, np.ndarray):
        raise WireError("multi-dimensional array: values are not a typed array")
    values = cast("NDArray[Any]", flat)
    if values.ndim != 1 or values.size != math.prod(sides):
        raise WireError(f"multi-dimensional array: expected {'x'.join(map(str, sides))} values, got {values.size}")
    return values.reshape(sides)


def _id(message: Fields) -> FrameId:
    channel, unique_id, time_ns, epoch_ns = sequence(message["id"], "id", 4)
    if not (
        isinstance(channel, str)
        and isinstance(unique_id, int)
        and isinstance(time_ns, int)
        and isinstance(epoch_ns, int)
    ):
        raise TypeError("id is not a string and three integers")
    return FrameId(channel, unique_id, time_ns, epoch_ns)


def _pair(message: Fields) -> Position:
    x, y = sequence(message["position"], "position", 2)
    if not (isinstance(x, int | float) and isinstance(y, int | float)):
        raise TypeError("position is not a pair of numbers")
    return float(x), float(y)


def _position(message: Fields) -> Position | None:
    return None if message["position"] is None else _pair(message)


def _attributes(message: Fields) -> dict[str, Scalar]:
    values = mapping(message["attributes"], "attributes")
    if not all(isinstance(value, Scalar) for value in values.values()):
        raise TypeError("attributes contain a value that is not a scalar")
    return cast("dict[str, Scalar]", values)


def _array(message: Fields, key: str) -> NDArray[Any]:
    value = message[key]
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{key} is not a typed array")
    return cast("NDArray[Any]", value)


def _frame(message: Fields) -> Frame:
    return Frame(
        id=_id(message),
        image=_array(message, "image"),
        scan=text(message, "scan"),
        position_m=_position(message),
        attributes=_attributes(message),
        times_ns=integers(message, "times"),
    )


def _patch(message: Fields) -> Patch:
    return Patch(
        id=_id(message),
        run=text(message, "run"),
        phase=_array(message, "phase"),
        pixel_m=number(message, "pixel"),
        model=text(message, "model"),
        amplitude=None if message["amplitude"] is None else _array(message, "amplitude"),
        scan=text(message, "scan"),
        position_m=_position(message),
        attributes=_attributes(message),
        times_ns=integers(message, "times"),
    )


def _rejection(message: Fields) -> Rejection:
    return Rejection(
        id=_id(message),
        reason=text(message, "reason"),
        detail=text(message, "detail"),
        vertex=text(message, "vertex"),
        scan=text(message, "scan"),
        times_ns=integers(message, "times"),
    )


def _late_position(message: Fields) -> LatePosition:
    return LatePosition(text(message, "channel"), integer(message, "time"), _pair(message))


_BUILDERS = {"frame": _frame, "patch": _patch, "rejection": _rejection, "position": _late_position}
