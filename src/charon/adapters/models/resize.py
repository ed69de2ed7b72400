"""Anti-aliased resizing as a matrix, so that it can be part of a graph."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def antialiased_resize(size_in: int, size_out: int) -> npt.NDArray[np.float32]:
    """Return the matrix that resizes one axis as scikit-image's `resize` with anti-aliasing does.

    A Gaussian of standard deviation (factor - 1) / 2 with mirrored ends, cut at four of them, then linear
    interpolation between pixels' centres. Both are linear and separable, so a matrix along each axis is
    all of it.

    Parameters
    ----------
    size_in, size_out
        Pixels before and after; the result must not be larger.

    Returns
    -------
    ndarray
        (size_out, size_in) float32.
    """
    if not 0 < size_out <= size_in:
        raise ValueError(f"resizing with anti-aliasing goes from many pixels to few, not {size_in} to {size_out}")
    factor = size_in / size_out
    smooth = ndimage.gaussian_filter1d(np.eye(size_in), (factor - 1) / 2, axis=0, mode="mirror")
    centres = (np.arange(size_out) + 0.5) * factor - 0.5
    left = np.clip(np.floor(centres).astype(np.intp), 0, size_in - 2)
    share = np.clip(centres - left, 0.0, 1.0)
    sample = np.zeros((size_out, size_in))
    sample[np.arange(size_out), left] = 1.0 - share
    sample[np.arange(size_out), left + 1] = share
    return (sample @ smooth).astype(np.float32)


def magnify(size: int, scale: float, centre: float) -> npt.NDArray[np.float32]:
    """Return the matrix that magnifies one axis about its middle, by linear interpolation.

    Parameters
    ----------
    size
        Pixels, before and after.
    scale
        Pixels after for one before.
    centre
        Where the middle pixel, size / 2, goes, relative to it.

    Returns
    -------
    ndarray
        (size, size) float32; what was not seen is 0.
    """
    source = size / 2 + (np.arange(size) - size / 2 - centre) / scale
    distance = np.abs(source[:, None] - np.arange(size)[None, :])
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)
