"""Recorded scans, read frame by frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.recordings.arrays import describe, file_suffix, open_arrays
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
    """Frames of a scan and their positions.

    Parameters
    ----------
    name
        Name of the file and the array, for messages.
    array
        (..., rows, columns) integers or floats, an array or an HDF5 dataset; the leading axes are the scan.
    positions_m
        (N, 2) float64, x and y in m; None if unknown.
    centred
        Whether zero frequency is in the centre; otherwise it is at (0, 0), and `frame` shifts it.
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
        """Element type of the frames."""
        return np.dtype(self.array.dtype)

    def __len__(self) -> int:
        return int(np.prod(self.array.shape[:-2], dtype=np.int64))

    def frame(self, index: int) -> NDArray[np.generic]:
        """Return one frame, (rows, columns), with zero frequency in the centre."""
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
        Name of the array, or its path within HDF5. By default, one of the common names, else the only array
        with three or more dimensions.
    positions
        File of the positions; by default the file of the frames is searched for them.
    position_scale_m, position_order
        See `charon.adapters.recordings.positions.read_positions`.
    fftshift
        Whether the frames have zero frequency at (0, 0).

    Raises
    ------
    UsageError
        If the file has no such frames, or too few positions.
    """
    arrays = open_arrays(path)
    key = _frame_key(path, arrays, dataset)
    array = arrays[key]
    if len(array.shape) < 2 or np.dtype(array.dtype).kind not in "iuf":
        note = "; complex data are not supported" if np.dtype(array.dtype).kind == "c" else ""
        raise UsageError(f"{path}: {key} is not a series of frames: {array.dtype} {tuple(array.shape)}{note}")
    if positions is not None:
        positions_m = read_positions(positions, scale_m=position_scale_m, order=position_order)
    else:
        others = {name: other for name, other in arrays.items() if name != key}
        positions_m = find_positions(others, scale_m=position_scale_m, order=position_order)
    # The only array of a .npy file has no name of its own.
    name = path.name if file_suffix(path) == ".npy" else f"{path.name}:{key}"
    recording = Recording(name, array, None, not fftshift)
    if positions_m is None:
        return recording
    if len(positions_m) < len(recording):
        raise UsageError(f"{path}: {len(positions_m)} positions for {len(recording)} frames")
    # An interrupted recording has fewer frames than positions.
    return Recording(recording.name, array, positions_m[: len(recording)], not fftshift)


def join(recordings: Sequence[Recording]) -> Sequence[tuple[Recording, int]]:
    """Return the frames of several recordings in order, as (recording, index) pairs."""
    return [(recording, index) for recording in recordings for index in range(len(recording))]


def _frame_key(path: Path, arrays: Mapping[str, Any], dataset: str | None) -> str:
    if dataset is not None:
        key = dataset.strip("/")
        if key in arrays:
            return key
        raise UsageError(f"{path}: no array {dataset!r}; arrays: {describe(arrays)}")
    for key in _FRAME_KEYS:
        if key in arrays:
            return key
    stacks = {name: a for name, a in arrays.items() if len(a.shape) >= 3 and min(a.shape[-2:]) > 3}
    series = {name: a for name, a in stacks.items() if a.dtype.kind != "c"}
    if len(series) == 1:
        return next(iter(series))
    if series:
        raise UsageError(f"{path}: several arrays may contain the frames; select one of them: {describe(series)}")
    note = "; complex data are not supported" if stacks else ""
    raise UsageError(f"{path}: no array of shape (frames, rows, columns); found: {describe(arrays)}{note}")
