"""Series of frames for the simulated detector, each computed on demand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from charon.frames import Position
    from charon.science.simulation import Experiment

_NOISE_FRAMES = 16


@dataclass(frozen=True, eq=False)
class Series:
    """Frames of one pass over a scan.

    Parameters
    ----------
    name
        Description of the frames, for messages.
    count
        Number of frames.
    image
        Returns frame i, (rows, columns).
    positions_m
        (N, 2) float64, x and y in m; None if unknown.
    """

    name: str
    count: int
    image: Callable[[int], NDArray[np.generic]]
    positions_m: NDArray[np.float64] | None = None

    def position(self, index: int) -> Position | None:
        """Return the scan position of frame i, (x, y) in m."""
        if self.positions_m is None:
            return None
        x, y = self.positions_m[index]
        return float(x), float(y)


def simulated_series(experiment: Experiment) -> Series:
    """Return the frames of a simulated experiment."""
    return Series(experiment.sample.name, len(experiment), experiment.frame, experiment.positions_m)


def noise_series(
    shape: tuple[int, int], dtype: np.dtype[np.generic], positions_m: NDArray[np.float64], *, seed: int
) -> Series:
    """Return frames of random counts from 0 to 99, which need no simulation; a few different frames repeat.

    Parameters
    ----------
    shape
        Rows and columns.
    dtype
        An integer or float type.
    positions_m
        (N, 2) float64, x and y in m, one row per frame.
    seed
        Random seed of the counts.
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (_NOISE_FRAMES, *shape), np.uint8).astype(dtype)
    return Series("noise", len(positions_m), lambda index: images[index % _NOISE_FRAMES], positions_m)
