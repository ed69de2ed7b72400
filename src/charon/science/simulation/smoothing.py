"""SciPy's image filters with precise types; SciPy itself has no type annotations."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Float = TypeVar("Float", bound=np.floating)

_ndimage = cast("Any", ndimage)


def gaussian_filter(values: npt.NDArray[Float], sigma: float) -> npt.NDArray[Float]:
    """Convolve with a Gaussian of standard deviation `sigma` pixels; edges are reflected."""
    return _ndimage.gaussian_filter(values, sigma)


def zoom(values: npt.NDArray[Float], shape: tuple[int, int]) -> npt.NDArray[Float]:
    """Interpolate a 2-D array to a shape with cubic splines."""
    factors = (shape[0] / values.shape[0], shape[1] / values.shape[1])
    return _ndimage.zoom(values, factors, order=3)[: shape[0], : shape[1]]
