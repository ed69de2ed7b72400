"""A sample: a complex transmission on a grid, and where the grid lies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Sample:
    """An object's transmission with its pixel, centred on the scan's (0, 0).

    Parameters
    ----------
    transmission
        (rows, columns) complex64: amplitude, 1 where nothing is, and phase in rad, 0 where nothing is.
    pixel_m
        Side of a pixel in m.
    name
        What it shows.
    """

    transmission: npt.NDArray[np.complex64]
    pixel_m: float
    name: str

    def __post_init__(self) -> None:
        if self.transmission.ndim != 2 or self.transmission.dtype != np.complex64:
            raise ValueError(
                f"a transmission is 2-D complex64, got {self.transmission.shape} {self.transmission.dtype}"
            )
        if not self.pixel_m > 0:
            raise ValueError(f"pixel_m has to be positive, got {self.pixel_m}")

    @property
    def origin_m(self) -> tuple[float, float]:
        """X and y in m of the centre of pixel (0, 0); pixel (rows / 2, columns / 2) lies at (0, 0)."""
        rows, columns = self.transmission.shape
        return -(columns // 2) * self.pixel_m, -(rows // 2) * self.pixel_m
