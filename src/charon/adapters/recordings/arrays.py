"""Read named arrays from NumPy and HDF5 files."""

from __future__ import annotations

import bz2
import io
import zipfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

_HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".cxi", ".nxs")
_NUMPY_SUFFIXES = (".npy", ".npz", ".npz.bz2")
SUFFIXES = (*_NUMPY_SUFFIXES, *_HDF5_SUFFIXES)


def file_suffix(path: Path) -> str:
    """Return the suffix of a file name that is in `SUFFIXES`, or an empty string."""
    return next((s for s in sorted(SUFFIXES, key=len, reverse=True) if path.name.lower().endswith(s)), "")


def is_recording(path: Path) -> bool:
    """Return whether a path is a file with a supported suffix."""
    return path.is_file() and bool(file_suffix(path))


def open_arrays(path: Path) -> Mapping[str, Any]:
    """Return the arrays of a file by name; HDF5 and .npy arrays are read when they are indexed.

    Raises
    ------
    UsageError
        If the file is missing or corrupt, or its suffix is not supported.
    """
    suffix = file_suffix(path)
    if not suffix:
        raise UsageError(f"{path}: unsupported suffix; expected one of {', '.join(SUFFIXES)}")
    try:
        if suffix in _HDF5_SUFFIXES:
            return _open_hdf5(path)
        if suffix == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with _open_seekable(path, suffix) as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {failure_reason(error)}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        # NumPy reports any other content as a pickle, so its message does not state the cause.
        raise UsageError(f"cannot read {path}: not a valid {suffix} file of numbers") from error


def failure_reason(error: Exception) -> str:
    """Return the reason of a read error, without the path that the message of an OSError repeats."""
    reason = error.strerror if isinstance(error, OSError) else None
    return reason or str(error)


def describe(arrays: Mapping[str, Any]) -> str:
    """Return names and shapes of arrays, for a message."""
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in arrays.items()) or "no arrays"


@contextmanager
def _open_seekable(path: Path, suffix: str) -> Generator[Any]:
    if suffix == ".npz.bz2":
        yield io.BytesIO(bz2.decompress(path.read_bytes()))
        return
    with path.open("rb") as stream:
        yield stream


def _open_hdf5(path: Path) -> dict[str, Any]:
    import hdf5plugin  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport] - slow to import; registers filters

    # Not closed: the datasets are read frame by frame while the recording is in use.
    file: Any = h5py.File(path, "r")
    datasets: dict[str, Any] = {}

    def collect(name: str, item: Any) -> None:  # noqa: ANN401 - h5py has no types
        if getattr(item, "shape", None):  # not a group or a scalar
            datasets[name] = item

    file.visititems(collect)
    return datasets
