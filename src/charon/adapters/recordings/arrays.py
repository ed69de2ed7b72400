"""Files of named arrays: NumPy's, compressed or not, and HDF5."""

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

_HDF5_ENDINGS = (".h5", ".hdf5", ".hdf", ".cxi", ".nxs")
_NUMPY_ENDINGS = (".npy", ".npz", ".npz.bz2")
ENDINGS = (*_NUMPY_ENDINGS, *_HDF5_ENDINGS)


def ending(path: Path) -> str:
    """Return which of `ENDINGS` a file's name has, or an empty text."""
    return next((e for e in sorted(ENDINGS, key=len, reverse=True) if path.name.lower().endswith(e)), "")


def is_recording(path: Path) -> bool:
    """Return whether a file's name is one of a file of arrays."""
    return path.is_file() and bool(ending(path))


def open_arrays(path: Path) -> Mapping[str, Any]:
    """Return the arrays of a file by name; those of HDF5 and .npy are read when they are indexed.

    Raises
    ------
    UsageError
        If the file is missing, damaged or of a kind that is not known here.
    """
    kind = ending(path)
    if not kind:
        raise UsageError(f"{path}: its name ends in none of {', '.join(ENDINGS)}")
    try:
        if kind in _HDF5_ENDINGS:
            return _hdf5(path)
        if kind == ".npy":
            return {path.stem: np.load(path, mmap_mode="r", allow_pickle=False)}
        with _seekable(path, kind) as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"cannot read {path}: {error}") from error


def describe(arrays: Mapping[str, Any]) -> str:
    """Return what a file holds, for a message: names and shapes."""
    return ", ".join(f"{name} {tuple(array.shape)}" for name, array in arrays.items()) or "no arrays"


@contextmanager
def _seekable(path: Path, kind: str) -> Generator[Any]:
    if kind == ".npz.bz2":
        yield io.BytesIO(bz2.decompress(path.read_bytes()))
        return
    with path.open("rb") as stream:
        yield stream


def _hdf5(path: Path) -> dict[str, Any]:
    import hdf5plugin  # noqa: F401, PLC0415  # pyright: ignore[reportUnusedImport] - registers detectors' compressions

    # Not closed here: its datasets are read frame by frame for as long as the recording is used.
    file = h5py.File(path, "r")
    found: dict[str, Any] = {}

    def note(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset) and item.shape:
            found[name] = item

    file.visititems(note)
    return found
