"""A sample: complex transmission on a grid centred on the scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False)
class Sample:
    """Transmission of an object, centred on (0, 0) of the scan.

    Parameters
    ----------
    transmission
        (rows, columns) complex64 with amplitude and phase (rad); empty areas are 1.
    pixel_m
        Pixel size in m.
    name
        Name of the sample.
    """

    transmission: npt.NDArray[np.complex64]
    pixel_m: float
    name: str

    def __post_init__(self) -> None:
        if self.transmission.ndim != 2 or self.transmission.dtype != np.complex64:
            raise ValueError(
                f"transmission must be 2-D complex64, got {self.transmission.shape} {self.transmission.dtype}"
            )
        if not self.pixel_m > 0:
            raise ValueError(f"pixel_m must be positive, got {self.pixel_m}")

    @property
    def origin_m(self) -> tuple[float, float]:
        """X and y in m of the centre of pixel (0, 0); pixel (rows / 2, columns / 2) is at (0, 0)."""
        rows, columns = self.transmission.shape
        return -(columns // 2) * self.pixel_m, -(rows // 2) * self.pixel_m
