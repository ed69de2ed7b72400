"""Reading the weights that PyTorch saved, without PyTorch and without running what a pickle asks for."""

from __future__ import annotations

import collections
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

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
    """A file is no state dict of PyTorch, or asks for more than tensors."""


def read_state_dict(path: Path) -> dict[str, npt.NDArray[np.float32]]:
    """Return the floating-point tensors of a state dict, by name, as float32.

    Counters such as BatchNorm's `num_batches_tracked` are left out.

    Parameters
    ----------
    path
        A file that `torch.save` wrote in its zip form (PyTorch 1.6 and later).

    Raises
    ------
    StateDictError
        If the file is of another form, or its pickle names anything but tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            loaded = _load(archive)
    except (OSError, zipfile.BadZipFile, KeyError, pickle.UnpicklingError, EOFError) as error:
        raise StateDictError(f"{path} cannot be read as a PyTorch state dict: {error}") from error
    if not isinstance(loaded, dict):
        raise StateDictError(f"{path} holds a {type(loaded).__name__}, not a state dict; save model.state_dict()")
    arrays = {str(name): value for name, value in loaded.items() if isinstance(value, np.ndarray)}
    if not arrays:
        raise StateDictError(f"{path} holds no tensors")
    return {name: value.astype(np.float32) for name, value in arrays.items() if value.dtype.kind == "f"}


def _load(archive: zipfile.ZipFile) -> Any:  # noqa: ANN401 - whatever the pickle holds
    pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise pickle.UnpicklingError("no data.pkl within; is it TorchScript, or older than PyTorch 1.6?")
    folder = pickles[0].removesuffix("data.pkl")
    with archive.open(pickles[0]) as file:
        return _TensorUnpickler(file, archive, folder).load()


class _TensorUnpickler(pickle.Unpickler):
    """Knows tensors and ordered dicts; whatever else a pickle names is refused."""

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
        raise pickle.UnpicklingError(f"it names {module}.{name}, which is no tensor; refused")

    def persistent_load(self, pid: Any) -> npt.NDArray[Any]:  # noqa: ANN401 - as in the base class
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype) or not str(key).isalnum():
            raise pickle.UnpicklingError(f"unknown reference {pid!r}")
        return np.frombuffer(self._archive.read(f"{self._folder}data/{key}"), dtype)


def _rebuild_tensor(
    storage: npt.NDArray[Any], offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> npt.NDArray[Any]:
    """Return a tensor's values; that its view stays within its storage is checked, as strides could leave it."""
    last = offset + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
    if offset < 0 or any(step < 0 for step in stride) or (min(size, default=1) > 0 and last >= storage.size):
        raise pickle.UnpicklingError(f"a tensor of {size} leaves its storage of {storage.size} values")
    steps = tuple(step * storage.itemsize for step in stride)
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps).copy()
