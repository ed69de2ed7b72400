"""SciPy's Fourier transforms with precise types; SciPy's own annotations describe its dispatcher."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import scipy.fft

ComplexArray: TypeAlias = npt.NDArray[np.complexfloating]

_fft = cast("Any", scipy.fft)


def fft(values: ComplexArray, length: int, axis: int, *, overwrite: bool = False) -> ComplexArray:
    """Transform one axis, padded with zeros to a length; complex64 input gives complex64."""
    return _fft.fft(values, n=length, axis=axis, overwrite_x=overwrite)


def fft2(values: ComplexArray) -> ComplexArray:
    """Transform the last two axes."""
    return _fft.fft2(values)


def ifft2(values: ComplexArray) -> ComplexArray:
    """Apply the inverse transform to the last two axes."""
    return _fft.ifft2(values)
