"""From a detector image to the network's input geometry: crop and mean-binning, exact and vectorised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.errors import BadFrameError, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A block's sum of these is exact in int32 up to 32,767 pixels of the largest value, more than any binning asks for.
_SMALL_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16"})


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a detector image becomes the network's input.

    Parameters
    ----------
    detector_shape
        (rows, columns) that the detector sends.
    crop
        (first row, first column, rows, columns) of it that are used.
    binning
        Blocks of binning x binning pixels become their mean.

    Raises
    ------
    ValueError
        If the crop leaves the detector or does not divide by the binning.
    """

    detector_shape: tuple[int, int]
    crop: tuple[int, int, int, int]
    binning: int = 1

    def __post_init__(self) -> None:
        row, column, height, width = self.crop
        rows, columns = self.detector_shape
        if min(row, column) < 0 or min(height, width) < 1 or row + height > rows or column + width > columns:
            raise ValueError(f"the crop {self.crop} leaves a detector of {self.detector_shape} pixels")
        if self.binning < 1 or height % self.binning or width % self.binning:
            raise ValueError(f"a crop of {height}x{width} pixels does not divide by a binning of {self.binning}")

    @property
    def output_shape(self) -> tuple[int, int]:
        """(rows, columns) after cropping and binning."""
        return self.crop[2] // self.binning, self.crop[3] // self.binning

    def apply(self, image: NDArray[Any]) -> NDArray[Any]:
        """Return the cropped and binned image.

        Parameters
        ----------
        image
            (rows, columns) detector counts of any integer or float type.

        Returns
        -------
        (rows, columns) float32 means where pixels are binned (float64 for 64-bit images); with a binning
        of 1 a view in the image's own type.

        Raises
        ------
        BadFrameError
            If the image has another shape than the detector or is no number.
        """
        if image.shape != self.detector_shape:
            rows, columns = self.detector_shape
            raise BadFrameError(
                Reason.SHAPE,
                f"an image of {image.shape[0]}x{image.shape[1]} pixels came where {rows}x{columns} are expected",
            )
        if image.dtype.kind not in "iuf":
            raise BadFrameError(Reason.DTYPE, f"images of type {image.dtype} hold no counts")
        row, column, height, width = self.crop
        cropped = image[row : row + height, column : column + width]
        return cropped if self.binning == 1 else bin_mean(cropped, self.binning)


def bin_mean(image: NDArray[Any], binning: int) -> NDArray[np.floating]:
    """Return the means of blocks of binning x binning pixels.

    Parameters
    ----------
    image
        (rows, columns) integers or floats; both divide by `binning`.
    binning
        Side of a block in pixels.

    Returns
    -------
    (rows / binning, columns / binning) float32; float64 for images of 64-bit floats or integers of 32 bits and more
    whose sums float32 would round on the way. The sums of integers of up to 16 bits are exact.
    """
    rows, columns = image.shape
    if image.dtype.name in _SMALL_INTEGERS:
        total = np.int32
    elif image.dtype.name in {"float32", "float16"}:
        total = np.float32
    else:
        total = np.float64
    # Rows first: contiguous additions, which is where the time goes; the strided ones see a quarter of the data.
    tall = image.reshape(rows // binning, binning, columns)
    if image.dtype.name in {"int16", "uint16"} and _fits(image, 32_767 // binning):
        return _bin_small(tall, columns, binning)
    partial = tall[:, 0].astype(total)
    for k in range(1, binning):
        partial += tall[:, k]
    block = partial[:, 0::binning].copy()
    for k in range(1, binning):
        block += partial[:, k::binning]
    result = np.float64 if image.dtype == np.float64 else np.float32
    # The mean is taken in double: a sum above 2**24 is not a float32.
    scale = 1.0 / (binning * binning)
    if total is np.float32:
        return block * np.float32(scale)
    return (block * scale).astype(result)


def _bin_small(tall: NDArray[Any], columns: int, binning: int) -> NDArray[np.float32]:
    """Return the means where a block's column fits into 16 bits and its sum, below 2**24, into a float32.

    Counts are so small nearly always. Sums of 16 bits need no widening, and a product with ones adds neighbours
    several times quicker than strided sums do.
    """
    partial = tall[:, 0].copy()
    for k in range(1, binning):
        partial += tall[:, k]
    sums = partial.astype(np.float32).reshape(-1, binning) @ np.ones(binning, np.float32)
    return (sums.reshape(len(tall), columns // binning) * (1.0 / (binning * binning))).astype(np.float32)


def _fits(image: NDArray[Any], bound: int) -> bool:
    """Return whether every count lies in 0 to `bound`: negative ones are large without their sign."""
    return int(image.view(np.uint16).max()) <= bound
