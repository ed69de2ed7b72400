"""NTNDArrays with something wrong in them, as broken detectors and networks send them: for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.pvaccess.ntndarray import frame_from
from charon.adapters.pvaccess.ntndarray_builder import ntndarray_from
from charon.adapters.pvaccess.pvapy import PvStructure, pva

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def spoiled(pv: PvStructure, kind: str) -> PvStructure:
    """Return another NTNDArray of the same name and attributes with a fault.

    Parameters
    ----------
    pv
        A good one.
    kind
        One of `FAULTS`: ``shape`` (half the rows are missing, and so declared), ``truncated`` (half the
        values are missing, and not so declared), ``codec`` (compressed by something unknown), ``nan``
        (floats, one of them no number), ``empty`` (no image at all), ``colour`` (three dimensions).
    """
    frame = frame_from(pv, "")
    attributes = {name: value for name, value in frame.attributes.items() if name != "ColorMode"}
    return FAULTS[kind](
        frame.image,
        lambda image: ntndarray_from(image, frame.id.unique_id, frame.id.time_ns, attributes),
    )


def _shape(image: NDArray[Any], publish: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    return publish(image[: max(1, image.shape[0] // 2)])


def _truncated(image: NDArray[Any], publish: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    pv = publish(image[: image.shape[0] // 2])
    pv["dimension"] = [pva.PvDimension(n, 0, n, 1, False) for n in (image.shape[1], image.shape[0])]
    return pv


def _codec(image: NDArray[Any], publish: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    pv = publish(image)
    pv["codec"] = pva.PvCodec("xyzzy", pva.PvInt(int(pva.SHORT)))
    return pv


def _nan(image: NDArray[Any], publish: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    spoiled_image = image.astype(np.float32)
    spoiled_image[image.shape[0] // 2, image.shape[1] // 2] = np.nan
    return publish(spoiled_image)


def _empty(image: NDArray[Any], publish: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    full = publish(image)
    pv = pva.NtNdArray()
    for name in ("uniqueId", "timeStamp", "dataTimeStamp"):
        pv[name] = full[name]
    return pv


def _colour(image: NDArray[Any], publish: Callable[[NDArray[Any]], PvStructure]) -> PvStructure:
    rows, columns = image.shape
    pv = publish(np.tile(image, (3, 1)))
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
