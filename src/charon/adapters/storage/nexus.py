"""One scan as an HDF5 file in the NeXus and CXI conventions, readable while it is written.

The file is a copy in the form that others read; the log is what counts. A writer that is killed
leaves a file that HDF5 will not open: it is made again from the log.

A reader in SWMR mode may find one dataset longer than another between two refreshes: it should take
the shortest.

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

from charon.adapters.storage.nexus_layout import STAGES, ScanHeader, lay_out
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from charon.frames import Patch, Position, Rejection
    from charon.science.stitch import StitchedImage

__all__ = ["Row", "ScanFile", "ScanHeader"]

_RESERVE_BYTES = 16 << 20
# For each dataset: chunks are written once, so a larger cache would only grow with the scan until it is full.
_CACHE_BYTES = 512 << 10


class Row(NamedTuple):
    """A patch with where it lies, if that is known, and when it was stitched, ns since 1970."""

    patch: Patch
    position_m: Position | None
    stitched_ns: int


class ScanFile:
    """The writer of one scan's file.

    Every dataset exists from the start, because none can be added once the file may be read; they
    grow. A new file takes its name when it is whole, so a reader sees the former one or this one.

    Parameters
    ----------
    path
        Name of the file.
    header
        What is known of the scan.

    Raises
    ------
    UnavailableError
        If the file cannot be written; every method may raise it, naming the file, and the file is
        then of no more use.
    """

    def __init__(self, path: Path, header: ScanHeader) -> None:
        self.path = path
        self.header = header
        self.rows = 0
        self._rejections = 0
        fresh = path.with_name(path.name + ".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh.unlink(missing_ok=True)
            self._file = h5py.File(fresh, "w", libver="latest", rdcc_nbytes=_CACHE_BYTES)
            self._data = lay_out(self._file, header)
            self._file.swmr_mode = True
            fresh.rename(path)
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def has_room(self, patches: int) -> bool:
        """Return whether the disk has room for so many more patches and an image.

        A file that runs into a full disk is lost until it is made again, so it is better asked first.
        """
        patch_bytes = int(np.prod(self.header.shape)) * np.dtype(self.header.dtype).itemsize
        disk = os.statvfs(self.path.parent)
        image_bytes = 3 * int(self._data["image"].size) * self._data["image"].dtype.itemsize
        needed = patches * (patch_bytes * (2 if self.header.amplitude else 1) + 1024) + image_bytes + _RESERVE_BYTES
        return disk.f_bavail * disk.f_frsize > needed

    def append(self, rows: Sequence[Row]) -> None:
        """Append patches; each has the header's shape and type."""
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
        """Set the position of a patch that was appended without one, and when it was stitched."""
        try:
            self._data["translation"][row] = _translation(position_m)
            self._data["stitched"][row] = stitched_ns
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def reject(self, rejections: Sequence[Rejection]) -> None:
        """Append rejected frames."""
        if not rejections:
            return
        start, stop = self._rejections, self._rejections + len(rejections)
        columns = {
            "rejected_name": [_text(r.id.name) for r in rejections],
            "rejected_unique_id": [r.id.unique_id for r in rejections],
            "rejected_reason": [_text(r.reason) for r in rejections],
            "rejected_vertex": [_text(r.vertex) for r in rejections],
            "rejected_detail": [_text(r.detail) for r in rejections],
        }
        self._extend(columns, start, stop)
        self._rejections = stop

    def set_image(self, image: StitchedImage) -> None:
        """Put the stitched image in place of the last one."""
        rows, columns = image.phase.shape
        values = {
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
        """Put the account of the scan's frames, state by state, in place of the last one."""
        columns = {"account_state": [_text(state) for state in counts], "account_count": list(counts.values())}
        self._extend(columns, 0, len(counts))

    def flush(self) -> None:
        """Show readers what has been written."""
        try:
            self._file.flush()
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def close(self) -> None:
        """Close the file; from then on any reader can open it."""
        try:
            self._file.close()
        except (OSError, RuntimeError) as error:
            raise self._unavailable(error) from error

    def abandon(self) -> None:
        """Let go of a file that could not be written."""
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
        return UnavailableError(f"the file {self.path} cannot be written: {error}")


def _translation(position_m: Position | None) -> tuple[float, float, float]:
    return (np.nan, np.nan, 0.0) if position_m is None else (*position_m, 0.0)


def _text(value: str) -> bytes:
    """Return text as HDF5's fixed-length strings hold it; what does not fit is cut by NumPy."""
    return value.encode()
