"""Matrices that resize and magnify images; an ONNX graph can contain such matrix products."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage


def resize_matrix(size_in: int, size_out: int) -> npt.NDArray[np.float32]:
    """Return the matrix that resizes one axis like scikit-image's `resize` with anti-aliasing.

    The operation is a Gaussian filter of standard deviation (factor - 1) / 2, mirrored at the ends and truncated
    at four standard deviations, followed by linear interpolation between pixel centres. Both are linear and
    separable, so one matrix per axis is exact.

    Parameters
    ----------
    size_in, size_out
        Pixels before and after; `size_out` must not exceed `size_in`.

    Returns
    -------
    ndarray
        (size_out, size_in) float32.
    """
    if not 0 < size_out <= size_in:
        raise ValueError(f"anti-aliased resizing cannot enlarge {size_in} to {size_out} pixels")
    factor = size_in / size_out
    smooth: npt.NDArray[np.float64] = cast("Any", ndimage).gaussian_filter1d(
        np.eye(size_in), (factor - 1) / 2, axis=0, mode="mirror"
    )
    centres = (np.arange(size_out) + 0.5) * factor - 0.5
    left = np.clip(np.floor(centres).astype(np.intp), 0, size_in - 2)
    fraction = np.clip(centres - left, 0.0, 1.0)
    sample = np.zeros((size_out, size_in))
    sample[np.arange(size_out), left] = 1.0 - fraction
    sample[np.arange(size_out), left + 1] = fraction
    return (sample @ smooth).astype(np.float32)


def magnification_matrix(size: int, scale: float, shift_pixels: float) -> npt.NDArray[np.float32]:
    """Return the matrix that magnifies one axis about its centre by linear interpolation.

    Parameters
    ----------
    size
        Pixels before and after.
    scale
        Magnification.
    shift_pixels
        Displacement of the image centre in pixels.

    Returns
    -------
    ndarray
        (size, size) float32; pixels from outside the input become 0.
    """
    source = size / 2 + (np.arange(size) - size / 2 - shift_pixels) / scale
    distance = np.abs(source[:, None] - np.arange(size)[None, :])
    return np.maximum(0.0, 1.0 - distance).astype(np.float32)
