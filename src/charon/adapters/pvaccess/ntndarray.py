"""Decode NTNDArrays, as areaDetector publishes them, into frames.

The first dimension of an image is x, the column: an image of H rows and W columns is published with
``dimension = [W, H]``, row by row. pvAccess time stamps count from 1970.

An array is a read-only view that keeps the received buffer alive, so a frame needs no copy. The surrounding
structure is safe only if it was read from a ``PvObjectQueue``: later updates overwrite the object that PvaPy
passes to a monitor's callback (600 objects kept from a callback all had the last ``uniqueId``). Therefore
`charon.adapters.pvaccess.monitor` uses the queue.

References
----------
EPICS Normative Types specification, NTNDArray; areaDetector ADCore, ntndArrayConverter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import numpy as np

from charon.adapters.pvaccess import codecs
from charon.adapters.pvaccess.pvapy import DTYPE_OF_PV_TYPE, PvStructure, pva
from charon.adapters.pvaccess.timestamps import detector_time_ns
from charon.errors import BadFrameError, Reason
from charon.frames import Frame, FrameId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from charon.frames import Position, Scalar

_REQUIRED = ("uniqueId", "dimension", "value", "codec")


@dataclass(frozen=True, slots=True)
class AttributeNames:
    """Names of the image attributes with the scan position and the name of the scan.

    Parameters
    ----------
    x, y
        Attributes with the position of the patch's centre.
    scan
        Attribute with the name or number of the scan.
    position_unit_m
        Length of the unit of the position, in m.
    """

    x: str = "x_position"
    y: str = "y_position"
    scan: str = "scan_id"
    position_unit_m: float = 1.0


DEFAULT_NAMES = AttributeNames()


def identify(pv: PvStructure, channel: str) -> FrameId:
    """Return the id of an update's frame, even if its image is bad.

    The epoch is 0; the reader of the channel determines it.

    Raises
    ------
    BadFrameError
        If the update has no ``uniqueId``, so it is not an NTNDArray and has no id under which to reject it.
    """
    if not pv.hasField("uniqueId"):
        raise BadFrameError(Reason.MALFORMED, f"an update of {channel} is not an NTNDArray: it has no uniqueId")
    return FrameId(channel, int(pv["uniqueId"]), detector_time_ns(pv))


def decode_frame(pv: PvStructure, channel: str, names: AttributeNames = DEFAULT_NAMES) -> Frame:
    """Return the frame in an update.

    Parameters
    ----------
    pv
        An NTNDArray.
    channel
        Name of its channel.
    names
        Names of the attributes for position and scan.

    Returns
    -------
    Frame
        Its image (rows, columns) is a read-only view of the received memory, unless it was compressed.

    Raises
    ------
    BadFrameError
        If the update is not an NTNDArray with one two-dimensional, complete, finite image.
    """
    missing = [name for name in _REQUIRED if not pv.hasField(name)]
    if missing:
        raise BadFrameError(Reason.MALFORMED, f"an update of {channel} is not an NTNDArray: it has no {missing[0]}")
    frame_id = identify(pv, channel)
    try:
        image = _image(pv)
        attributes = _attributes(pv)
    except (pva.PvaException, KeyError, TypeError, IndexError) as error:
        raise BadFrameError(Reason.MALFORMED, f"frame {frame_id.name}: invalid NTNDArray: {error}") from error
    except BadFrameError as error:
        raise BadFrameError(error.reason, f"frame {frame_id.name}: {error.detail}") from error
    scan = attributes.get(names.scan)
    return Frame(
        id=frame_id,
        image=image,
        scan="" if scan is None else str(scan),
        position_m=_position(attributes, names),
        attributes=attributes,
    )


def _image(pv: PvStructure) -> NDArray[Any]:
    sizes = [int(d["size"]) for d in pv["dimension"]]
    field = pv.getSelectedUnionFieldName("value")
    if not field or not sizes:
        raise BadFrameError(Reason.EMPTY, "the update contains no image")
    value = pv["value"][0][field]
    if not _is_numeric(value):
        raise BadFrameError(Reason.DTYPE, f"{field} is not an array of integers or floats")
    rows, columns = _shape(sizes)
    codec = str(pv["codec.name"])
    flat = _decompress(pv, codec, value, rows * columns) if codec else value
    if flat.size != rows * columns:
        raise BadFrameError(
            Reason.TRUNCATED,
            f"{flat.size} elements instead of {rows * columns} ({columns} x {rows})",
        )
    # The wire format has no booleans.
    image = (flat.view(np.uint8) if flat.dtype.kind == "b" else flat).reshape(rows, columns)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        bad = int(image.size - np.count_nonzero(np.isfinite(image)))
        raise BadFrameError(Reason.NOT_FINITE, f"{bad} of {image.size} pixels are NaN or infinite")
    return image


def _shape(sizes: list[int]) -> tuple[int, int]:
    """Return (rows, columns) of dimensions in the order x, y."""
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) != 2:
        raise BadFrameError(Reason.SHAPE, f"dimensions {sizes}: expected two, without colour")
    columns, rows = sizes
    if columns <= 0 or rows <= 0:
        raise BadFrameError(Reason.SHAPE, f"dimensions {sizes} are not positive")
    return rows, columns


def _decompress(pv: PvStructure, codec: str, value: NDArray[Any], count: int) -> NDArray[Any]:
    if codec not in codecs.CODECS:
        raise BadFrameError(Reason.CODEC, f"unknown codec {codec!r}; supported: {', '.join(codecs.CODECS)}")
    code = _unwrap(pv["codec.parameters"])
    dtype = DTYPE_OF_PV_TYPE.get(code) if isinstance(code, int) else None
    if dtype is None:
        raise BadFrameError(Reason.CODEC, f"codec.parameters {code!r} of {codec} is not a pixel type")
    declared = int(pv["uncompressedSize"])
    if declared and declared != count * dtype.itemsize:
        raise BadFrameError(
            Reason.TRUNCATED,
            f"uncompressedSize is {declared}, but the dimensions require {count * dtype.itemsize} bytes",
        )
    payload = value.view(np.uint8)
    compressed = int(pv["compressedSize"])
    if compressed > payload.size:
        raise BadFrameError(Reason.TRUNCATED, f"compressedSize {compressed} exceeds the payload's {payload.size} bytes")
    return codecs.decompress(codec, payload[: compressed or None], dtype, count)


def _attributes(pv: PvStructure) -> dict[str, Scalar]:
    """Return the scalar attributes by name; arrays and undefined values are skipped."""
    if not pv.hasField("attribute"):
        return {}
    scalars: dict[str, Scalar] = {}
    for attribute in pv["attribute"]:
        value = _unwrap(attribute["value"])
        if isinstance(value, str | int | float | bool):
            scalars[str(attribute["name"])] = value
    return scalars


def _is_numeric(value: object) -> TypeGuard[NDArray[Any]]:
    return isinstance(value, np.ndarray) and cast("NDArray[Any]", value).dtype.kind in "biuf"


def _unwrap(union: Any) -> Any:  # noqa: ANN401 - PvaPy has no types
    """Return the value of a variant union, which PvaPy returns as a tuple of one dict."""
    return cast("tuple[dict[str, Any]]", union)[0].get("value") if isinstance(union, tuple) else union


def _position(attributes: Mapping[str, Scalar], names: AttributeNames) -> Position | None:
    x, y = attributes.get(names.x), attributes.get(names.y)
    if isinstance(x, str | None) or isinstance(y, str | None) or not np.isfinite([x, y]).all():
        return None
    return float(x) * names.position_unit_m, float(y) * names.position_unit_m
