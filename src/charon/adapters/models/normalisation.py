"""Pre-processing of detector counts that is part of a network's graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


@dataclass(frozen=True)
class RawCounts:
    """Pass the counts to the network unchanged."""


@dataclass(frozen=True, eq=False)
class SqrtStandardise:
    """Divide by the frame's mean, compute the square root, and standardise each pixel.

    The mean removes the flux, and the square root makes the noise uniform. Standardising by mean and deviation
    over the training patterns removes the image of the illumination.

    Parameters
    ----------
    mean, deviation
        (rows, columns) float32, over the training patterns.
    resize
        (rows, rows) and (columns, columns) float32 matrices, applied along each axis before the square root;
        None to omit.
    """

    mean: npt.NDArray[np.float32]
    deviation: npt.NDArray[np.float32]
    resize: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None


@dataclass(frozen=True, eq=False)
class Standardise:
    """Resize, set values below a threshold to 0, subtract a mean and divide by a standard deviation.

    Parameters
    ----------
    resize
        (rows out, rows in) float32 matrix, applied along both axes; None to omit.
    threshold
        Values below it become 0.
    mean
        (rows out, columns out) float32, or a scalar array.
    deviation
        Standard deviation of all pixels.
    """

    resize: npt.NDArray[np.float32] | None
    threshold: float
    mean: npt.NDArray[np.float32]
    deviation: float


Normalisation: TypeAlias = RawCounts | SqrtStandardise | Standardise
