"""Corrupt NTNDArrays, as faulty detectors and networks send them; for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.pvaccess.ntndarray import decode_frame
from charon.adapters.pvaccess.ntndarray_builder import build_ntndarray
from charon.adapters.pvaccess.pvapy import PvStructure, pva

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def corrupt(pv: PvStructure, fault: str) -> PvStructure:
    """Return a corrupt copy of an NTNDArray, with the same frame id and attributes.

    Parameters
    ----------
    pv
        A valid NTNDArray.
    fault
        One of `FAULTS`: ``shape`` (half the rows, declared correctly), ``truncated`` (half the values,
        declared as complete), ``codec`` (an unknown codec), ``nan`` (floats with one NaN), ``empty`` (no image),
        ``colour`` (three dimensions).
    """
    frame = decode_frame(pv, "")
    attributes = {name: value for name, value in frame.attributes.items() if name != "ColorMode"}
    return FAULTS[fault](
        frame.image,
        lambda image: build_ntndarray(image, frame.id.unique_id, frame.id.time_ns, attributes),
    )


def _shape(image: NDArray[Any], build: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    return build(image[: max(1, image.shape[0] // 2)])


def _truncated(image: NDArray[Any], build: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    pv = build(image[: image.shape[0] // 2])
    pv["dimension"] = [pva.PvDimension(n, 0, n, 1, False) for n in (image.shape[1], image.shape[0])]
    return pv


def _codec(image: NDArray[Any], build: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    pv = build(image)
    pv["codec"] = pva.PvCodec("xyzzy", pva.PvInt(int(pva.SHORT)))
    return pv


def _nan(image: NDArray[Any], build: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    with_nan = image.astype(np.float32)
    with_nan[image.shape[0] // 2, image.shape[1] // 2] = np.nan
    return build(with_nan)


def _empty(image: NDArray[Any], build: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    valid = build(image)
    pv = pva.NtNdArray()
    for name in ("uniqueId", "timeStamp", "dataTimeStamp"):
        pv[name] = valid[name]
    return pv


def _colour(image: NDArray[Any], build: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    rows, columns = image.shape
    pv = build(np.tile(image, (3, 1)))
    pv["dimension"] = [pva.PvDimension(n, 0, n, 1, False) for n in (3, columns, rows)]
    return pv


FAULTS: dict[str, Callable[[NDArray[Any], Callable[[NDArray[Any]], PvStructure]], PvStructure]] = {
    "shape": _shape,
    "truncated": _truncated,
    "codec": _codec,
    "nan": _nan,
    "empty": _empty,
    "colour": _colour,
}
