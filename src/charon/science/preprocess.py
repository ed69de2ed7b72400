"""Crop and bin detector images to the input of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.errors import BadFrameError, Reason

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The sum of a block of these types is exact in int32 for up to 32,767 pixels of the largest value.
_SMALL_INTEGERS = frozenset({"int8", "uint8", "int16", "uint16"})


@dataclass(frozen=True, slots=True)
class Geometry:
    """Crop and binning that turn a detector image into the input of the network.

    Parameters
    ----------
    detector_shape
        (rows, columns) of the detector image.
    crop
        (first row, first column, rows, columns) of the part that is used.
    binning
        Side in pixels of the blocks that are averaged.

    Raises
    ------
    ValueError
        If the crop exceeds the detector or is not divisible by the binning.
    """

    detector_shape: tuple[int, int]
    crop: tuple[int, int, int, int]
    binning: int = 1

    def __post_init__(self) -> None:
        row, column, height, width = self.crop
        rows, columns = self.detector_shape
        if min(row, column) < 0 or min(height, width) < 1 or row + height > rows or column + width > columns:
            raise ValueError(f"crop {self.crop} exceeds the detector of {self.detector_shape} pixels")
        if self.binning < 1 or height % self.binning or width % self.binning:
            raise ValueError(f"a crop of {height}x{width} pixels is not divisible by a binning of {self.binning}")

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
        (rows, columns) float32 means (float64 for 64-bit floats); with a binning of 1, a view with the type of the
        image.

        Raises
        ------
        BadFrameError
            If the image has the wrong shape or type.
        """
        if image.shape != self.detector_shape:
            rows, columns = self.detector_shape
            raise BadFrameError(
                Reason.SHAPE,
                f"image of {image.shape[0]}x{image.shape[1]} pixels, expected {rows}x{columns}",
            )
        if image.dtype.kind not in "iuf":
            raise BadFrameError(Reason.DTYPE, f"image of type {image.dtype}, expected integers or floats")
        row, column, height, width = self.crop
        cropped = image[row : row + height, column : column + width]
        return cropped if self.binning == 1 else bin_mean(cropped, self.binning)


def bin_mean(image: NDArray[Any], binning: int) -> NDArray[np.floating]:
    """Return the means of blocks of binning x binning pixels.

    Parameters
    ----------
    image
        (rows, columns) integers or floats; both lengths are divisible by `binning`.
    binning
        Side length of a block in pixels.

    Returns
    -------
    (rows / binning, columns / binning) float64 for 64-bit floats, float32 otherwise. The sums of integers of up to 16
    bits are exact; wider integers are summed in float64.
    """
    rows, columns = image.shape
    if image.dtype.name in _SMALL_INTEGERS:
        total = np.int32
    elif image.dtype.name in {"float32", "float16"}:
        total = np.float32
    else:
        total = np.float64
    # Rows first: most additions are then contiguous, and the strided ones process a fraction of the data.
    row_blocks = image.reshape(rows // binning, binning, columns)
    if image.dtype.name in {"int16", "uint16"} and _fits(image, 32_767 // binning):
        return _bin_small_counts(row_blocks, columns, binning)
    partial = row_blocks[:, 0].astype(total)
    for k in range(1, binning):
        partial += row_blocks[:, k]
    block = partial[:, 0::binning].copy()
    for k in range(1, binning):
        block += partial[:, k::binning]
    result = np.float64 if image.dtype == np.float64 else np.float32
    # Scale in double precision: float32 cannot represent sums above 2**24.
    scale = 1.0 / (binning * binning)
    if total is np.float32:
        return block * np.float32(scale)
    return (block * scale).astype(result)


def _bin_small_counts(row_blocks: NDArray[Any], columns: int, binning: int) -> NDArray[np.float32]:
    """Return the means of blocks whose column sums fit into 16 bits and whose sums, below 2**24, fit into a float32.

    Counts are nearly always that small. Sums of 16 bits need no wider type, and a product with ones adds neighbours
    several times faster than strided sums.
    """
    partial = row_blocks[:, 0].copy()
    for k in range(1, binning):
        partial += row_blocks[:, k]
    sums = partial.astype(np.float32).reshape(-1, binning) @ np.ones(binning, np.float32)
    # A division rounds once; a product with the inverse is off by one unit for binnings that are not powers of two.
    return sums.reshape(len(row_blocks), columns // binning) / np.float32(binning * binning)


def _fits(image: NDArray[Any], bound: int) -> bool:
    """Return whether every count is between 0 and `bound`; negative counts are large as unsigned integers."""
    return int(image.view(np.uint16).max()) <= bound
