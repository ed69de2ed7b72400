"""Read weights that PyTorch saved, without PyTorch and without executing code in the pickle."""

from __future__ import annotations

import collections
import pickle
import zipfile
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

_STORAGE_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}


class StateDictError(ValueError):
    """The file is not a PyTorch state dict, or its pickle refers to more than tensors."""


def read_state_dict(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the floating-point tensors of a state dict, by name, as float32.

    Integer counters such as BatchNorm's `num_batches_tracked` are omitted.

    Parameters
    ----------
    path
        File that `torch.save` wrote in its zip format (PyTorch 1.6 and later).

    Raises
    ------
    StateDictError
        If the file has another format, or its pickle refers to anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            loaded = _load(archive)
    except (OSError, zipfile.BadZipFile, KeyError, pickle.UnpicklingError, EOFError) as error:
        raise StateDictError(f"{path}: not a PyTorch state dict ({error})") from error
    if not isinstance(loaded, dict):
        raise StateDictError(f"{path}: contains a {type(loaded).__name__}, not a state dict; save model.state_dict()")
    items = cast("dict[object, object]", loaded).items()
    arrays = {str(name): cast("npt.NDArray[Any]", value) for name, value in items if isinstance(value, np.ndarray)}
    if not arrays:
        raise StateDictError(f"{path}: contains no tensors")
    return {name: value.astype(np.float32) for name, value in arrays.items() if value.dtype.kind == "f"}


def _load(archive: zipfile.ZipFile) -> Any:  # noqa: ANN401 - a pickle may contain any type
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise pickle.UnpicklingError(
            "no data.pkl found; TorchScript and files older than PyTorch 1.6 are not supported"
        )
    folder = pickles[0].removesuffix("data.pkl")
    with archive.open(pickles[0]) as file:
        return _TensorUnpickler(file, archive, folder).load()


class _TensorUnpickler(pickle.Unpickler):
    """Unpickler that accepts tensors and ordered dicts, and rejects every other class."""

    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:  # noqa: ANN401 - any binary file
        super().__init__(file)
        self._archive = archive
        self._folder = folder

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - as in the base class
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"rejected: the pickle refers to {module}.{name}, only tensors are allowed")

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - as in the base class
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not str(key).isalnum():
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        content = self._archive.read(f"{self._folder}data/{key}")
        return np.frombuffer(content, cast("np.dtype[Any]", dtype))


def _rebuild_tensor(
    storage: npt.NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> npt.NDArray[Any]:
    """Return the values of a tensor; reject a view whose strides extend beyond the storage."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset < 0 or any(step < 0 for step in stride) or (min(size, default=1) > 0 and last >= storage.size):
        raise pickle.UnpicklingError(f"a tensor of shape {size} exceeds its storage of {storage.size} values")
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()
