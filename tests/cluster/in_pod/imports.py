"""Check inside the image that every module can be imported, and that codecs and HDF5 filters work."""

from __future__ import annotations

import importlib
import pkgutil

import hdf5plugin
import numpy as np

from charon.adapters.pvaccess.codecs import CODECS, compress, decompress

# Not in the image: PyTorch (training), Ansible (provisioning), and two packages for PvaPy's encryption.
ABSENT = {"torch", "ansible", "rsa", "Crypto"}


def check_imports() -> None:
    failed: dict[str, str] = {}
    for package in ("charon", "pynumaflow", "pvapy"):
        top = importlib.import_module(package)
        for module in pkgutil.walk_packages(top.__path__, f"{package}.", onerror=lambda _name: None):
            if module.name.endswith("__main__"):
                continue
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                if (error.name or "").partition(".")[0] not in ABSENT:
                    failed[module.name] = str(error)
    assert not failed, failed


def check_codecs() -> None:
    frame = np.arange(64 * 64, dtype=np.int16)
    tested: set[str] = set()
    for codec in CODECS:
        try:
            packed = compress(codec, frame)
        except ValueError:
            continue
        assert np.array_equal(decompress(codec, packed, frame.dtype, frame.size), frame), codec
        tested.add(codec)
    assert tested >= {"lz4", "bslz4", "blosc"}, tested


def check_filters() -> None:
    registered = hdf5plugin.get_config().registered_filters
    assert len(registered) >= 12, registered


check_imports()
check_codecs()
check_filters()
