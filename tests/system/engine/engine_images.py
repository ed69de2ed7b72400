"""Reading and comparing the results of runs."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from charon.adapters.storage.nexus_reader import read_image


def stitched(folder, scan="scan-1"):
    """Return a scan's stitched image."""
    return read_image(folder / f"{scan}.h5")


def arrays(file, *paths):
    """Return datasets of an HDF5 file as arrays."""
    with h5py.File(file) as opened:
        return [np.asarray(opened[path]) for path in paths]


def assert_same_image(actual, expected):
    """Compare two stitched images, which differ by rounding because patches are summed in a different order."""
    assert actual.phase.shape == expected.phase.shape
    assert actual.origin_m == pytest.approx(expected.origin_m)
    np.testing.assert_allclose(actual.weight, expected.weight, rtol=1e-4, atol=1e-5)
    inside = actual.weight > 1e-3 * actual.weight.max()
    np.testing.assert_allclose(actual.transmission[inside], expected.transmission[inside], atol=1e-4)
