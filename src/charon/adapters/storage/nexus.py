"""Write a scan's HDF5 file in the NeXus and CXI conventions, readable during the scan.

The file is a copy of the patch log in a format that other programs read. A writer that is killed leaves a file that
HDF5 cannot open; the file is then rebuilt from the log.

In SWMR mode a reader may see datasets of different lengths between two refreshes: the shortest length is valid.

References
----------
CXI version 1.60: Maia, The Coherent X-ray Imaging Data Bank, doi:10.1038/nmeth.2110. NeXus:
Könnecke et al., The NeXus data format, doi:10.1107/S1600576714027575.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from charon.adapters.storage.nexus_layout import STAGES, ScanHeader, create_datasets
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from charon.frames import Patch, Position, Rejection
    from charon.science.stitch import StitchedImage

__all__ = ["Row", "ScanFile", "ScanHeader"]

_RESERVE_BYTES = 16 << 20
# Per dataset. Chunks are written once, so a larger cache would only add memory.
_CACHE_BYTES = 512 << 10


class Row(NamedTuple):
    """Row of the file: a patch, its position (None if unknown) and when it was stitched, in ns since 1970."""

    patch: Patch
    position_m: Position | None
    stitched_ns: int


class ScanFile:
    """Writer of one scan's file.

    SWMR mode permits no new datasets, so all of them are created at the start and grow. The file is written under a
    temporary name and renamed when it is complete, so a reader sees either the previous file or the new one.

    Parameters
    ----------
    path
        Path of the file.
    header
        Metadata of the scan.

    Raises
    ------
    UnavailableError
        If the file cannot be written. Every method may raise it with the path in the message; the file must then be
        abandoned.
    """

    def __init__(self, path: Path, header: ScanHeader) -> None:
        self.path = path
        self.header = header
        self.rows = 0
        self._rejected_rows = 0
        temporary = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.unlink(missing_ok=True)
            self._file = h5py.File(temporary, "w", libver="latest", rdcc_nbytes=_CACHE_BYTES)
            self._data = create_datasets(self._file, header)
            self._file.swmr_mode = True
            temporary.rename(path)
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def has_space(self, patches: int) -> bool:
        """Return whether the disk has space for this number of further patches and an image.

        A write that fails on a full disk makes the file unreadable until it is rebuilt, so check first.
        """
        patch_bytes = int(np.prod(self.header.shape)) * np.dtype(self.header.dtype).itemsize
        disk = os.statvfs(self.path.parent)
        image_bytes = 3 * int(self._data["image"].size) * self._data["image"].dtype.itemsize
        needed = patches * (patch_bytes * (2 if self.header.amplitude else 1) + 1024) + image_bytes + _RESERVE_BYTES
        return disk.f_bavail * disk.f_frsize > needed

    def append(self, rows: Sequence[Row]) -> None:
        """Append patches, each with the shape and type of the header."""
        if not rows:
            return
        start, stop = self.rows, self.rows + len(rows)
        patches = [row.patch for row in rows]
        columns: dict[str, Any] = {
            "phase": np.stack([p.phase for p in patches]),
            "translation": [_translation(row.position_m) for row in rows],
            "unique_id": [p.id.unique_id for p in patches],
            "epoch": [p.id.epoch_ns for p in patches],
            "name": [_text(p.id.name) for p in patches],
            "model": [_text(p.model) for p in patches],
        }
        if self.header.amplitude:
            columns["amplitude"] = np.stack([p.amplitude for p in patches if p.amplitude is not None])
        for stage in STAGES[1:-1]:
            columns[stage] = [p.times_ns.get(stage, 0) for p in patches]
        columns["detector"] = [p.id.time_ns for p in patches]
        columns["stitched"] = [row.stitched_ns for row in rows]
        self._extend(columns, start, stop)
        self.rows = stop

    def set_position(self, row: int, position_m: Position, stitched_ns: int) -> None:
        """Set the position of a patch that was appended without one, and the time at which it was stitched."""
        try:
            self._data["translation"][row] = _translation(position_m)
            self._data["stitched"][row] = stitched_ns
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def append_rejections(self, rejections: Sequence[Rejection]) -> None:
        """Append rejected frames."""
        if not rejections:
            return
        start, stop = self._rejected_rows, self._rejected_rows + len(rejections)
        columns = {
            "rejected_name": [_text(r.id.name) for r in rejections],
            "rejected_unique_id": [r.id.unique_id for r in rejections],
            "rejected_reason": [_text(r.reason) for r in rejections],
            "rejected_vertex": [_text(r.vertex) for r in rejections],
            "rejected_detail": [_text(r.detail) for r in rejections],
        }
        self._extend(columns, start, stop)
        self._rejected_rows = stop

    def set_image(self, image: StitchedImage) -> None:
        """Replace the stitched image."""
        rows, columns = image.phase.shape
        values: dict[str, NDArray[Any]] = {
            "image": image.transmission,
            "image_phase": image.phase,
            "image_weight": image.weight,
            "image_x": image.origin_m[0] + np.arange(columns) * image.pixel_m,
            "image_y": image.origin_m[1] + np.arange(rows) * image.pixel_m,
        }
        try:
            for name, value in values.items():
                dataset = self._data[name]
                if dataset.shape != value.shape:
                    dataset.resize(value.shape)
                dataset[...] = value
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def set_account(self, counts: Mapping[str, int]) -> None:
        """Replace the account of the scan's frames: the number of frames in each state."""
        columns = {"account_state": [_text(state) for state in counts], "account_count": list(counts.values())}
        self._extend(columns, 0, len(counts))

    def flush(self) -> None:
        """Make what has been written visible to readers."""
        try:
            self._file.flush()
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Close the file; readers then no longer need SWMR mode."""
        try:
            self._file.close()
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def abandon(self) -> None:
        """Close the file after a failed write, ignoring errors."""
        with suppress(OSError, RuntimeError):
            self._file.close()

    def _extend(self, columns: Mapping[str, Any], start: int, stop: int) -> None:
        try:
            for name, values in columns.items():
                dataset = self._data[name]
                dataset.resize(stop, axis=0)
                dataset[start:stop] = np.asarray(values, dataset.dtype)
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"cannot write {self.path}: {error}")


def _translation(position_m: Position | None) -> tuple[float, float, float]:
    return (np.nan, np.nan, 0.0) if position_m is None else (*position_m, 0.0)


def _text(value: str) -> bytes:
    """Return text for HDF5's fixed-length strings; NumPy truncates it to the length of the dataset's type."""
    return value.encode()
