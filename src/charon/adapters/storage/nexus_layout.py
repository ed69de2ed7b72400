"""Layout of a scan's HDF5 file: groups, datasets and attributes of CXI 1.60, with NeXus classes."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

STAGES = ("detector", "received", "accepted", "inferred", "stitched")
"""Stages whose time stamps are stored, in ns since 1970; 0 if unknown."""

_CHUNK_BYTES = 64 << 10
_ROWS = 1024
_IMAGE_CHUNK = 256
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
    """Metadata of a scan at the creation of its file.

    Parameters
    ----------
    run, scan
        Names of the run and of the scan.
    shape
        (rows, columns) of the patches.
    dtype
        Element type of the phase.
    amplitude
        Whether the patches have an amplitude.
    pixel_m
        Pixel size in m.
    start_ns
        Detector time of the first frame, ns since 1970.
    provenance
        Text by keyword: version, run, model, manifest.
    """

    run: str
    scan: str
    shape: tuple[int, int]
    dtype: str
    amplitude: bool
    pixel_m: float
    start_ns: int
    provenance: Mapping[str, str] = field(default_factory=dict[str, str])


def create_datasets(file: Any, header: ScanHeader) -> dict[str, Any]:  # noqa: ANN401 - h5py has no types
    """Create every group, dataset and attribute; return the datasets that grow, by name."""
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
    _create_patches(entry, header, data)
    _create_image(entry, header, data)
    rejected = _group(entry, "rejected_1", "NXcollection")
    for name in ("name", "reason", "vertex", "detail"):
        data[f"rejected_{name}"] = _column(rejected, name, _TEXT[name])
    data["rejected_unique_id"] = _column(rejected, "unique_id", "i8")
    account = _group(entry, "account_1", "NXcollection")
    data["account_state"] = _column(account, "state", _TEXT["state"])
    data["account_count"] = _column(account, "count", "i8")
    return data


def _create_patches(entry: Any, header: ScanHeader, data: dict[str, Any]) -> None:  # noqa: ANN401
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
        data[stage] = _column(times, stage, "i8", units="ns", long_name="ns since 1970, 0 if unknown")


def _create_image(entry: Any, header: ScanHeader, data: dict[str, Any]) -> None:  # noqa: ANN401
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
