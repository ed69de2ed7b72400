"""From NTNDArray, as areaDetector publishes it, to frames.

An image's first dimension is x, the column: an image of H rows and W columns is published with
``dimension = [W, H]``, row after row. Time stamps of pvAccess count from 1970.

The memory of an array belongs to the update that it came with: PvaPy hands out a read-only view that keeps
the received buffer alive, so a frame costs no copy. The structure around it is another matter. The object
given to a monitor's callback is filled again by later updates (600 objects kept from a callback all showed
the last ``uniqueId``), the objects taken from a ``PvObjectQueue`` are each their own; see
`charon.adapters.pvaccess.monitor`, which uses the queue.

References
----------
EPICS Normative Types specification, NTNDArray; areaDetector ADCore, ntndArrayConverter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
    """Which attributes of an image hold its scan position and the name of its scan.

    Parameters
    ----------
    x, y
        Position of the patch's centre.
    scan
        Name or number of the scan.
    position_unit_m
        What one unit of the position is in m.
    """

    x: str = "x_position"
    y: str = "y_position"
    scan: str = "scan_id"
    position_unit_m: float = 1.0


DEFAULT_NAMES = AttributeNames()


def identify(pv: PvStructure, channel: str) -> FrameId:
    """Return which frame an update is, whatever is wrong with its image.

    Its epoch is left 0: that is for the reader who follows the channel to know.

    Raises
    ------
    BadFrameError
        If the update has no ``uniqueId``: it is no NTNDArray, and has no name to be rejected by.
    """
    if not pv.hasField("uniqueId"):
        raise BadFrameError(Reason.MALFORMED, f"an update of {channel} is no NTNDArray: it has no uniqueId")
    return FrameId(channel, int(pv["uniqueId"]), detector_time_ns(pv))


def frame_from(pv: PvStructure, channel: str, names: AttributeNames = DEFAULT_NAMES) -> Frame:
    """Return the frame that an update holds.

    Parameters
    ----------
    pv
        NTNDArray.
    channel
        That it came on.
    names
        Of the attributes for position and scan.

    Returns
    -------
    Frame
        Its image (rows, columns) is a read-only view of the received memory where it was not compressed.

    Raises
    ------
    BadFrameError
        If it is no NTNDArray with one two-dimensional, complete, finite image.
    """
    missing = [name for name in _REQUIRED if not pv.hasField(name)]
    if missing:
        raise BadFrameError(Reason.MALFORMED, f"an update of {channel} is no NTNDArray: it has no {missing[0]}")
    frame_id = identify(pv, channel)
    try:
        image = _image(pv)
        attributes = _attributes(pv)
    except (pva.PvaException, KeyError, TypeError, IndexError) as error:
        raise BadFrameError(Reason.MALFORMED, f"frame {frame_id.name} is no valid NTNDArray: {error}") from error
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
        raise BadFrameError(Reason.EMPTY, "the update holds no image yet")
    value = pv["value"][0][field]
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise BadFrameError(Reason.DTYPE, f"{field} is no image of integers or floats")
    rows, columns = _shape(sizes)
    codec = str(pv["codec.name"])
    flat = _decompressed(pv, codec, value, rows * columns) if codec else value
    if flat.size != rows * columns:
        raise BadFrameError(
            Reason.TRUNCATED,
            f"{flat.size} elements, while {columns} x {rows} need {rows * columns}",
        )
    # A flag is a number as well; the wire format has no booleans.
    image = (flat.view(np.uint8) if flat.dtype.kind == "b" else flat).reshape(rows, columns)
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        bad = int(image.size - np.count_nonzero(np.isfinite(image)))
        raise BadFrameError(Reason.NOT_FINITE, f"{bad} of {image.size} pixels are NaN or infinite")
    return image


def _shape(sizes: list[int]) -> tuple[int, int]:
    """Return (rows, columns) of dimensions given x first."""
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) != 2:
        raise BadFrameError(Reason.SHAPE, f"dimensions {sizes}: a diffraction pattern has two, and no colours")
    columns, rows = sizes
    if columns <= 0 or rows <= 0:
        raise BadFrameError(Reason.SHAPE, f"dimensions {sizes} are not positive")
    return rows, columns


def _decompressed(pv: PvStructure, codec: str, value: NDArray[Any], count: int) -> NDArray[Any]:
    if codec not in codecs.CODECS:
        raise BadFrameError(Reason.CODEC, f"codec {codec!r} is unknown here, known are {', '.join(codecs.CODECS)}")
    parameters = pv["codec.parameters"]
    code = parameters[0].get("value") if isinstance(parameters, tuple) else None
    dtype = DTYPE_OF_PV_TYPE.get(code) if isinstance(code, int) else None
    if dtype is None:
        raise BadFrameError(Reason.CODEC, f"codec.parameters {code!r} of {codec} name no type of pixels")
    declared = int(pv["uncompressedSize"])
    if declared and declared != count * dtype.itemsize:
        raise BadFrameError(
            Reason.TRUNCATED,
            f"uncompressedSize is {declared}, while the dimensions need {count * dtype.itemsize} bytes",
        )
    payload = value.view(np.uint8)
    compressed = int(pv["compressedSize"])
    if compressed > payload.size:
        raise BadFrameError(Reason.TRUNCATED, f"compressedSize is {compressed}, there are {payload.size} bytes")
    return codecs.decompress(codec, payload[: compressed or None], dtype, count)


def _attributes(pv: PvStructure) -> dict[str, Scalar]:
    """Return the attributes that are plain values, by name; arrays and undefined ones have no place."""
    if not pv.hasField("attribute"):
        return {}
    plain: dict[str, Scalar] = {}
    for attribute in pv["attribute"]:
        value = attribute["value"]
        scalar = value[0].get("value") if isinstance(value, tuple) else value
        if isinstance(scalar, str | int | float | bool):
            plain[str(attribute["name"])] = scalar
    return plain


def _position(attributes: Mapping[str, Scalar], names: AttributeNames) -> Position | None:
    x, y = attributes.get(names.x), attributes.get(names.y)
    if isinstance(x, str | None) or isinstance(y, str | None) or not np.isfinite([x, y]).all():
        return None
    return float(x) * names.position_unit_m, float(y) * names.position_unit_m
