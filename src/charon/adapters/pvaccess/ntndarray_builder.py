"""From images to NTNDArray, as areaDetector publishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.pvaccess import codecs
from charon.adapters.pvaccess.pvapy import FIELD_OF_PV_TYPE, PV_TYPES, PvStructure, pva
from charon.adapters.pvaccess.timestamps import stamp_from

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from charon.frames import Scalar

# Building these from their types costs 0.3 ms and 0.04 ms, a copy a hundredth of that.
_EMPTY_IMAGE = pva.NtNdArray()
_EMPTY_ATTRIBUTE = pva.NtAttribute("", pva.PvInt(0))


def ntndarray_from(
    image: NDArray[Any],
    unique_id: int,
    time_ns: int,
    attributes: Mapping[str, Scalar] | None = None,
    codec: str | None = None,
) -> PvStructure:
    """Return an NTNDArray with an image, as areaDetector would publish it.

    Parameters
    ----------
    image
        (rows, columns), any integer or float type of 1 to 8 bytes.
    unique_id
        Number of the frame.
    time_ns
        Since 1970.
    attributes
        Text and numbers; a None is left out.
    codec
        To compress with, one of ``lz4``, ``bslz4``, ``blosc``; by default the image goes as it is.
    """
    if image.ndim != 2:
        raise ValueError(f"an image has 2 dimensions, this one {image.ndim}")
    code = PV_TYPES.get(np.dtype(image.dtype).char.replace("q", "l").replace("Q", "L"))
    if code is None:
        raise ValueError(f"an NTNDArray holds no elements of type {image.dtype}")
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
    pv["attribute"] = _nt_attributes(attributes or {})
    stamp_image(pv, unique_id, time_ns)
    return pv


def stamp_image(pv: PvStructure, unique_id: int, time_ns: int) -> None:
    """Give an NTNDArray its number and its time stamps (ns since 1970), at the last moment."""
    stamp = stamp_from(time_ns)
    pv["uniqueId"] = int(unique_id)
    pv["timeStamp"] = stamp
    pv["dataTimeStamp"] = stamp


def _nt_attributes(attributes: Mapping[str, Scalar]) -> list[PvStructure]:
    values = {"ColorMode": 0, **attributes}
    return [_nt_attribute(name, value) for name, value in values.items() if value is not None]


def _nt_attribute(name: str, value: str | float) -> PvStructure:
    attribute = _EMPTY_ATTRIBUTE.copy()
    attribute["name"] = name
    attribute["value"] = _pv_scalar(value)
    return attribute


def _pv_scalar(value: str | float) -> PvStructure:
    if isinstance(value, bool):
        return pva.PvBoolean(value)
    if isinstance(value, int):
        return pva.PvInt(value) if -(2**31) <= value < 2**31 else pva.PvLong(value)
    return pva.PvDouble(float(value)) if isinstance(value, float) else pva.PvString(value)
