"""Build NTNDArrays from images, as areaDetector publishes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.pvaccess import codecs
from charon.adapters.pvaccess.pvapy import FIELD_OF_PV_TYPE, PV_TYPES, PvStructure, pva
from charon.adapters.pvaccess.timestamps import build_time_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from charon.frames import Scalar

# Constructing these costs 0.3 ms and 0.04 ms, copying them a hundredth of that.
_EMPTY_IMAGE = pva.NtNdArray()
_EMPTY_ATTRIBUTE = pva.NtAttribute("", pva.PvInt(0))


def build_ntndarray(
    image: NDArray[Any],
    unique_id: int,
    time_ns: int,
    attributes: Mapping[str, Scalar] | None = None,
    codec: str | None = None,
) -> PvStructure:
    """Return an NTNDArray with an image.

    Parameters
    ----------
    image
        (rows, columns), any integer or float type of 1 to 8 bytes.
    unique_id
        The frame's ``uniqueId``.
    time_ns
        Time stamp, ns since 1970.
    attributes
        Text and numbers; None values are omitted.
    codec
        One of ``lz4``, ``bslz4``, ``blosc``; not compressed by default.

    Raises
    ------
    ValueError
        If the image does not have two dimensions of integers or floats, or the codec is unknown.
    """
    if image.ndim != 2:
        raise ValueError(f"expected an image of 2 dimensions, got {image.ndim}")
    code = PV_TYPES.get(np.dtype(image.dtype).char.replace("q", "l").replace("Q", "L"))
    if code is None:
        raise ValueError(f"NTNDArray does not support elements of type {image.dtype}")
    rows, columns = image.shape
    flat = np.ascontiguousarray(image, image.dtype.newbyteorder("=")).reshape(-1)
    pv = _EMPTY_IMAGE.copy()
    if codec:
        payload = codecs.compress(codec, flat)
        pv["value"] = {"ubyteValue": payload}
    else:
        payload = flat
        pv["value"] = {FIELD_OF_PV_TYPE[int(code)]: flat}
    pv["codec"] = pva.PvCodec(codec or "", pva.PvInt(int(code)))
    pv["compressedSize"] = int(payload.nbytes)
    pv["uncompressedSize"] = int(flat.nbytes)
    pv["dimension"] = [pva.PvDimension(n, 0, n, 1, False) for n in (columns, rows)]
    pv["attribute"] = _build_attributes(attributes or {})
    set_id_and_time(pv, unique_id, time_ns)
    return pv


def set_id_and_time(pv: PvStructure, unique_id: int, time_ns: int) -> None:
    """Set ``uniqueId`` and both time stamps (ns since 1970) of an NTNDArray, just before it is published."""
    stamp = build_time_stamp(time_ns)
    pv["uniqueId"] = int(unique_id)
    pv["timeStamp"] = stamp
    pv["dataTimeStamp"] = stamp


def _build_attributes(attributes: Mapping[str, Scalar]) -> list[PvStructure]:
    values = {"ColorMode": 0, **attributes}
    return [_build_attribute(name, value) for name, value in values.items() if value is not None]


def _build_attribute(name: str, value: str | float) -> PvStructure:
    attribute = _EMPTY_ATTRIBUTE.copy()
    attribute["name"] = name
    attribute["value"] = _build_scalar(value)
    return attribute


def _build_scalar(value: str | float) -> PvStructure:
    if isinstance(value, bool):
        return pva.PvBoolean(value)
    if isinstance(value, int):
        return pva.PvInt(value) if -(2**31) <= value < 2**31 else pva.PvLong(value)
    return pva.PvDouble(float(value)) if isinstance(value, float) else pva.PvString(value)
