"""SciPy's transforms with the types that they return; its own annotations describe its dispatcher."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import scipy.fft

ComplexArray: TypeAlias = npt.NDArray[np.complexfloating]


def fft(values: ComplexArray, length: int, axis: int, *, overwrite: bool = False) -> ComplexArray:
    """Transform one axis, padded with zeros to a length; single precision stays single."""
    return cast("Any", scipy.fft.fft(values, n=length, axis=axis, overwrite_x=overwrite))


def fft2(values: ComplexArray) -> ComplexArray:
    """Transform the last two axes."""
    return cast("Any", scipy.fft.fft2(values))


def ifft2(values: ComplexArray) -> ComplexArray:
    """Transform the last two axes back."""
    return cast("Any", scipy.fft.ifft2(values))
