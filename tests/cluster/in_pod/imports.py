"""Run inside the image: whatever was left in it can be imported, and decodes what detectors send."""

from __future__ import annotations

import importlib
import pkgutil

import hdf5plugin
import numpy as np

from charon.adapters.pvaccess.codecs import CODECS, compress, decompress

# What the image does not have: training needs PyTorch, provisioning Ansible, PvaPy's encryption two more.
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
    done: set[str] = set()
    for codec in CODECS:
        try:
            packed = compress(codec, frame)
        except ValueError:
            continue
        assert np.array_equal(decompress(codec, packed, frame.dtype, frame.size), frame), codec
        done.add(codec)
    assert done >= {"lz4", "bslz4", "blosc"}, done


def check_filters() -> None:
    registered = hdf5plugin.get_config().registered_filters
    assert len(registered) >= 12, registered


check_imports()
check_codecs()
check_filters()
