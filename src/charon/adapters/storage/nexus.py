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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import h5py
import numpy as np

from charon.frames import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from charon.frames import Patch, Position, Rejection
    from charon.science.stitch import StitchedImage

STAGES = ("detector", "received", "accepted", "inferred", "stitched")
"""Stages whose time stamps are kept, in ns since 1970; 0 where one is not known."""

_CHUNK_BYTES = 64 << 10
_ROWS = 1024
_IMAGE_CHUNK = 256
_RESERVE_BYTES = 16 << 20
_TEXT = {
    "name": "S192",
    "scan": "S96",
    "reason": "S24",
    "vertex": "S48",
    "detail": "S256",
    "state": "S48",
    "model": "S96",
}


@dataclass(frozen=True, slots=True)
class ScanHeader:
    """What is known of a scan when its file is begun.

    Parameters
    ----------
    run, scan
        Names of the run and of the scan.
    shape
        (rows, columns) of its patches.
    dtype
        Element type of their phase.
    amplitude
        Whether they have an amplitude.
    pixel_m
        Size of a pixel in m.
    start_ns
        Detector time of the first frame, ns since 1970.
    provenance
        What made it: program, version, model, manifest and the like, as text.
    """

    run: str
    scan: str
    shape: tuple[int, int]
    dtype: str
    amplitude: bool
    pixel_m: float
    start_ns: int
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])


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
            self._file = h5py.File(fresh, "w", libver="latest")
            self._data = _lay_out(self._file, header)
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

    def set_position(self, row: int, position_m: Position) -> None:
        """Set the position of a patch that was appended without one."""
        try:
            self._data["translation"][row] = _translation(position_m)
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
        known = ~np.isnan(image.phase)
        whole = np.zeros((rows, columns), np.complex64)
        whole[known] = image.amplitude[known] * np.exp(np.complex64(1j) * image.phase[known])
        values = {
            "image": whole,
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


def _lay_out(file: Any, header: ScanHeader) -> dict[str, Any]:  # noqa: ANN401 - h5py has no types
    """Make every group, dataset and attribute; return the datasets that grow."""
    file.attrs.update({"NX_class": "NXroot", "default": "entry_1", "creator": "charon"})
    file["cxi_version"] = 160
    entry = _group(file, "entry_1", "NXentry", default="image_1")
    entry["title"] = header.scan
    entry["experiment_identifier"] = header.run
    entry["start_time"] = datetime.fromtimestamp(header.start_ns / 1e9, UTC).isoformat()
    entry["program_name"] = "charon"
    process = _group(entry, "process_1", "NXprocess")
    process["program"] = "charon"
    for key, value in header.provenance.items():
        process[key] = value
    data: dict[str, Any] = {}
    _lay_out_patches(entry, header, data)
    _lay_out_image(entry, header, data)
    rejected = _group(entry, "rejected_1", "NXcollection")
    for name in ("name", "reason", "vertex", "detail"):
        data[f"rejected_{name}"] = _column(rejected, name, _TEXT[name])
    data["rejected_unique_id"] = _column(rejected, "unique_id", "i8")
    account = _group(entry, "account_1", "NXcollection")
    data["account_state"] = _column(account, "state", _TEXT["state"])
    data["account_count"] = _column(account, "count", "i8")
    return data


def _lay_out_patches(entry: Any, header: ScanHeader, data: dict[str, Any]) -> None:  # noqa: ANN401
    group = _group(entry, "data_1", "NXdata", signal="phase", axes=[".", ".", "."])
    chunk = (max(1, _CHUNK_BYTES // (int(np.prod(header.shape)) * np.dtype(header.dtype).itemsize)), *header.shape)
    for name in ("phase", "amplitude") if header.amplitude else ("phase",):
        data[name] = group.create_dataset(
            name, (0, *header.shape), header.dtype, maxshape=(None, *header.shape), chunks=chunk
        )
    data["phase"].attrs["units"] = "rad"
    data["unique_id"] = _column(group, "unique_id", "i8")
    data["epoch"] = _column(group, "epoch", "i8", units="ns")
    data["name"] = _column(group, "name", _TEXT["name"])
    data["model"] = _column(group, "model", _TEXT["model"])
    group["x_pixel_size"] = group["y_pixel_size"] = header.pixel_m
    group["x_pixel_size"].attrs["units"] = group["y_pixel_size"].attrs["units"] = "m"
    geometry = _group(_group(entry, "sample_1", "NXsample"), "geometry_1", "NXgeometry")
    translation = geometry.create_dataset("translation", (0, 3), "f8", maxshape=(None, 3), chunks=(_ROWS, 3))
    translation.attrs.update({"units": "m", "long_name": "centre of the patch: x along columns, y along rows, z"})
    data["translation"] = group["translation"] = translation
    times = _group(entry, "times_1", "NXcollection")
    for stage in STAGES:
        data[stage] = _column(times, stage, "i8", units="ns", long_name="ns since 1970, 0 where not known")


def _lay_out_image(entry: Any, header: ScanHeader, data: dict[str, Any]) -> None:  # noqa: ANN401
    group = _group(entry, "image_1", "NXdata", signal="phase", axes=["y", "x"])
    kinds = {"image": ("data", "c8"), "image_phase": ("phase", "f4"), "image_weight": ("weight", "f4")}
    for key, (name, dtype) in kinds.items():
        data[key] = group.create_dataset(
            name, (0, 0), dtype, maxshape=(None, None), chunks=(_IMAGE_CHUNK, _IMAGE_CHUNK)
        )
    data["image_phase"].attrs["units"] = "rad"
    data["image_x"] = _column(group, "x", "f8", units="m")
    data["image_y"] = _column(group, "y", "f8", units="m")
    group["data_type"] = "complex transmission"
    group["data_space"] = "real"
    group["is_fft_shifted"] = 0
    group["pixel_size"] = header.pixel_m
    group["pixel_size"].attrs["units"] = "m"


def _group(parent: Any, name: str, nx_class: str, **attributes: Any) -> Any:  # noqa: ANN401
    group = parent.create_group(name)
    group.attrs["NX_class"] = nx_class
    group.attrs.update(attributes)
    return group


def _column(group: Any, name: str, dtype: str, **attributes: str) -> Any:  # noqa: ANN401
    dataset = group.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(_ROWS,))
    dataset.attrs.update(attributes)
    return dataset


def _translation(position_m: Position | None) -> tuple[float, float, float]:
    return (np.nan, np.nan, 0.0) if position_m is None else (*position_m, 0.0)


def _text(value: str) -> bytes:
    """Return text as HDF5's fixed-length strings hold it; what does not fit is cut by NumPy."""
    return value.encode()
