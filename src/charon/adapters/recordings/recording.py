"""A recorded scan, read frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.recordings.arrays import describe, open_arrays
from charon.adapters.recordings.positions import Order, find_positions, read_positions
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_FRAME_KEYS = (
    "entry_1/data_1/data",
    "entry_1/instrument_1/detector_1/data",
    "entry/data/data",
    "entry/instrument/detector/data",
    "exchange/data",
    "data",
    "reciprocal",
    "frames",
    "images",
    "dp",
)


@dataclass(frozen=True, eq=False)
class Recording:
    """Frames of a scan and where each was taken.

    Parameters
    ----------
    name
        Of the file and the array.
    array
        (..., rows, columns), integers or floats: an array or an HDF5 dataset; its leading axes are the scan.
    positions_m
        (N, 2) float64, x and y in m, where known.
    centred
        Whether zero frequency is in the centre already; else it is at (0, 0) and is moved there.
    """

    name: str
    array: Any
    positions_m: NDArray[np.float64] | None = None
    centred: bool = True

    @property
    def frame_shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        rows, columns = self.array.shape[-2:]
        return int(rows), int(columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the frames."""
        return np.dtype(self.array.dtype)

    def __len__(self) -> int:
        return int(np.prod(self.array.shape[:-2], dtype=np.int64))

    def frame(self, index: int) -> NDArray[np.generic]:
        """Return one frame, (rows, columns), zero frequency in the centre."""
        lead = self.array.shape[:-2]
        image = np.asarray(self.array[np.unravel_index(index, lead)] if lead else self.array[()])
        return image if self.centred else np.fft.fftshift(image)


def open_recording(
    path: Path,
    *,
    dataset: str | None = None,
    positions: Path | None = None,
    position_scale_m: float = 1.0,
    position_order: Order | None = None,
    fftshift: bool = False,
) -> Recording:
    """Open a file of recorded frames.

    Parameters
    ----------
    path
        ``.npy``, ``.npz``, ``.npz.bz2`` or HDF5 (``.h5``, ``.hdf5``, ``.nxs``, ``.cxi``).
    dataset
        Name of the array, or path within HDF5; by default the usual names are tried, then the only array
        that can be a series of frames.
    positions
        File of the positions; by default they are looked for beside the frames.
    position_scale_m, position_order
        See `charon.adapters.recordings.positions.read_positions`.
    fftshift
        Whether the frames have zero frequency at (0, 0).

    Raises
    ------
    UsageError
        If there are no frames of that name, or other than one position for each.
    """
    arrays = open_arrays(path)
    key = _frame_key(path, arrays, dataset)
    array = arrays[key]
    if len(array.shape) < 2 or np.dtype(array.dtype).kind not in "iuf":
        raise UsageError(f"{path}: {key} is {array.dtype}{tuple(array.shape)}, no series of frames")
    if positions is not None:
        found = read_positions(positions, scale_m=position_scale_m, order=position_order)
    else:
        others = {name: other for name, other in arrays.items() if name != key}
        found = find_positions(others, scale_m=position_scale_m, order=position_order)
    recording = Recording(f"{path.name}:{key}", array, None, not fftshift)
    if found is None:
        return recording
    if len(found) < len(recording):
        raise UsageError(f"{path}: {len(found)} positions for {len(recording)} frames")
    # A scan whose recording was cut short keeps the positions of all of it in its file.
    return Recording(recording.name, array, found[: len(recording)], not fftshift)


def join(recordings: Sequence[Recording]) -> Sequence[tuple[Recording, int]]:
    """Return the frames of several recordings, one after the other, as (recording, index) pairs."""
    return [(recording, index) for recording in recordings for index in range(len(recording))]


def _frame_key(path: Path, arrays: Mapping[str, Any], dataset: str | None) -> str:
    if dataset is not None:
        key = dataset.strip("/")
        if key in arrays:
            return key
        raise UsageError(f"{path} has no array {dataset}; it holds {describe(arrays)}")
    for key in _FRAME_KEYS:
        if key in arrays:
            return key
    series = [name for name, a in arrays.items() if len(a.shape) >= 3 and min(a.shape[-2:]) > 3 and a.dtype.kind != "c"]
    if len(series) == 1:
        return series[0]
    raise UsageError(f"{path}: which array holds the frames? Name one of {describe(arrays)}")
