"""The one wire format of everything that travels: CBOR with RFC 8746 typed arrays.

The whole message is in the payload, nothing in headers, so that it is the same in JetStream and in
Numaflow, whose maps cannot set headers. Arrays are row-major and little-endian, tagged with their
element type; no value is cast on the way.

References
----------
RFC 8949 (CBOR), doi:10.17487/RFC8949; RFC 8746 (typed arrays), doi:10.17487/RFC8746.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cbor2
import numpy as np

from charon.frames.model import Frame, FrameId, LatePosition, Message, Patch, Rejection

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import UnionType

    from numpy.typing import NDArray

VERSION = 1
_ROW_MAJOR = 40
_SCALAR = str | int | float | bool | None
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
# What bytes that nobody vouches for make of a CBOR reader: its own errors, and those of the values that tags stand for.
_DAMAGE = (
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
    """The bytes are not a message of this form; the text says where they depart from it."""


def encode(message: Message) -> bytes:
    """Return the message as bytes.

    Raises
    ------
    WireError
        If an array has an element type that RFC 8746 has no tag for.
    """
    if isinstance(message, LatePosition):
        fields: dict[str, Any] = {
            "v": VERSION,
            "kind": "position",
            "channel": message.channel,
            "time": message.time_ns,
            "position": list(message.position_m),
        }
        return cbor2.dumps(fields)
    i = message.id
    fields = {
        "v": VERSION,
        "kind": "",
        "id": [i.channel, i.unique_id, i.time_ns, i.epoch_ns],
        "scan": message.scan,
        "times": dict(message.times_ns),
    }
    if isinstance(message, Rejection):
        fields |= {
            "kind": "rejection",
            "reason": message.reason,
            "detail": message.detail,
            "vertex": message.vertex,
        }
        return cbor2.dumps(fields)
    fields["position"] = None if message.position_m is None else list(message.position_m)
    fields["attributes"] = dict(message.attributes)
    if isinstance(message, Frame):
        fields |= {"kind": "frame", "image": _tagged(message.image)}
    else:
        fields |= {
            "kind": "patch",
            "run": message.run,
            "pixel": message.pixel_m,
            "model": message.model,
            "phase": _tagged(message.phase),
            "amplitude": None if message.amplitude is None else _tagged(message.amplitude),
        }
    return cbor2.dumps(fields)


def decode(payload: bytes) -> Message:
    """Return the message that the bytes hold; its arrays are read-only views of the payload's copy.

    Raises
    ------
    WireError
        If the bytes are damaged, of another form or of a later version.
    """
    try:
        fields = cbor2.loads(payload, tag_hook=_untagged)
    except WireError:
        raise
    except _DAMAGE as error:
        message = f"{len(payload)} bytes are no CBOR message: {error.__cause__ or error}"
        raise WireError(message) from error
    if not isinstance(fields, dict):
        message = f"a message is a CBOR map, this is {type(fields).__name__}"
        raise WireError(message)
    version, kind = fields.get("v"), fields.get("kind")
    if not isinstance(version, int) or version != VERSION:
        message = f"version {version!r} of the wire format is unknown here (this is version {VERSION})"
        raise WireError(message)
    build = _BUILDERS.get(kind) if isinstance(kind, str) else None
    if build is None:
        message = f"a message of kind {kind!r} is unknown"
        raise WireError(message)
    try:
        return build(fields)
    except KeyError as error:
        message = f"a {kind} lacks its field {error}"
        raise WireError(message) from error
    except (TypeError, ValueError, OverflowError) as error:
        message = f"a {kind} has a field of the wrong form: {error}"
        raise WireError(message) from error


def _tagged(array: NDArray[Any]) -> cbor2.CBORTag:
    """Return an array of two dimensions or more as RFC 8746 tag 40 around a typed array."""
    dtype = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
    tag = _TAG_OF_DTYPE.get(dtype)
    if tag is None:
        message = f"arrays of type {array.dtype} have no place in the wire format"
        raise WireError(message)
    data = np.ascontiguousarray(array, dtype=dtype)
    return cbor2.CBORTag(_ROW_MAJOR, [list(array.shape), cbor2.CBORTag(tag, data.tobytes())])


def _untagged(tag: cbor2.CBORTag, *_: object) -> Any:  # noqa: ANN401 - the hook returns whatever the tag stands for
    if tag.tag in _DTYPE_OF_TAG:
        dtype = _DTYPE_OF_TAG[tag.tag]
        if not isinstance(tag.value, bytes) or len(tag.value) % dtype.itemsize:
            message = f"a typed array of {dtype} whose bytes do not divide by {dtype.itemsize}"
            raise WireError(message)
        return np.frombuffer(tag.value, dtype=dtype)
    if tag.tag == _ROW_MAJOR:
        return _shaped(tag.value)
    return tag


def _shaped(value: object) -> NDArray[Any]:
    """Return the array that RFC 8746 tag 40 stands for."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise WireError("a multi-dimensional array is a pair of its dimensions and its values")
    shape, flat = value
    if not isinstance(shape, list | tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise WireError("the dimensions of an array are whole numbers from 0 up")
    if not isinstance(flat, np.ndarray) or flat.ndim != 1 or flat.size != math.prod(shape):
        raise WireError(f"an array of {'x'.join(map(str, shape))} values holds another number of them")
    return flat.reshape(tuple(shape))


def _id(fields: Mapping[str, Any]) -> FrameId:
    parts = fields["id"]
    if not isinstance(parts, list | tuple) or len(parts) != 4:
        raise TypeError("id is not channel, uniqueId, time and epoch")
    channel, *numbers = parts
    if not isinstance(channel, str) or not all(isinstance(n, int) for n in numbers):
        raise TypeError("id is not a text and three whole numbers")
    return FrameId(channel, *numbers)


def _pair(fields: Mapping[str, Any]) -> tuple[float, float]:
    pair = fields["position"]
    if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(isinstance(n, int | float) for n in pair):
        raise TypeError("position is no pair of numbers")
    return float(pair[0]), float(pair[1])


def _position(fields: Mapping[str, Any]) -> tuple[float, float] | None:
    return None if fields["position"] is None else _pair(fields)


def _text(fields: Mapping[str, Any], key: str) -> str:
    value = fields[key]
    if not isinstance(value, str):
        raise TypeError(f"{key} is no text")
    return value


def _number(fields: Mapping[str, Any], key: str) -> Any:  # noqa: ANN401 - an int stays an int
    value = fields[key]
    if not isinstance(value, int | float):
        raise TypeError(f"{key} is no number")
    return value


def _mapping(fields: Mapping[str, Any], key: str, kinds: type | UnionType) -> dict[str, Any]:
    """Return a map from texts to values of the kinds named."""
    value = fields[key]
    if not isinstance(value, dict) or not all(isinstance(k, str) and isinstance(v, kinds) for k, v in value.items()):
        raise TypeError(f"{key} is no map from names to values of its kind")
    return value


def _array(fields: Mapping[str, Any], key: str) -> NDArray[Any]:
    value = fields[key]
    if not isinstance(value, np.ndarray):
        message = f"{key} is no typed array"
        raise TypeError(message)
    return value


def _frame(fields: Mapping[str, Any]) -> Frame:
    return Frame(
        id=_id(fields),
        image=_array(fields, "image"),
        scan=_text(fields, "scan"),
        position_m=_position(fields),
        attributes=_mapping(fields, "attributes", _SCALAR),
        times_ns=_mapping(fields, "times", int),
    )


def _patch(fields: Mapping[str, Any]) -> Patch:
    return Patch(
        id=_id(fields),
        run=_text(fields, "run"),
        phase=_array(fields, "phase"),
        pixel_m=_number(fields, "pixel"),
        model=_text(fields, "model"),
        amplitude=None if fields["amplitude"] is None else _array(fields, "amplitude"),
        scan=_text(fields, "scan"),
        position_m=_position(fields),
        attributes=_mapping(fields, "attributes", _SCALAR),
        times_ns=_mapping(fields, "times", int),
    )


def _rejection(fields: Mapping[str, Any]) -> Rejection:
    return Rejection(
        id=_id(fields),
        reason=_text(fields, "reason"),
        detail=_text(fields, "detail"),
        vertex=_text(fields, "vertex"),
        scan=_text(fields, "scan"),
        times_ns=_mapping(fields, "times", int),
    )


def _late_position(fields: Mapping[str, Any]) -> LatePosition:
    time_ns = fields["time"]
    if not isinstance(time_ns, int):
        raise TypeError("time is no whole number")
    return LatePosition(_text(fields, "channel"), time_ns, _pair(fields))


_BUILDERS = {"frame": _frame, "patch": _patch, "rejection": _rejection, "position": _late_position}
