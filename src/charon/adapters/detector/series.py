"""What a detector is going to publish: a number of frames, each made when it is asked for."""

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
        What they show, for messages.
    count
        How many.
    image
        Makes frame i, (rows, columns).
    positions_m
        (N, 2) float64, x and y in m, where known.
    """

    name: str
    count: int
    image: Callable[[int], NDArray[np.generic]]
    positions_m: NDArray[np.float64] | None = None

    def position(self, index: int) -> Position | None:
        """Return where frame i was taken, (x, y) in m."""
        if self.positions_m is None:
            return None
        x, y = self.positions_m[index]
        return float(x), float(y)


def simulated(experiment: Experiment) -> Series:
    """Return the frames of a simulated experiment."""
    return Series(experiment.sample.name, len(experiment), experiment.frame, experiment.positions_m)


def noise(
    shape: tuple[int, int], dtype: np.dtype[np.generic], positions_m: NDArray[np.float64], *, seed: int
) -> Series:
    """Return frames that show nothing and cost nothing to make, of any shape.

    Parameters
    ----------
    shape
        Rows and columns.
    dtype
        Integer or float.
    positions_m
        (N, 2) float64, x and y in m; there is one frame for each.
    seed
        Of the counts, 0 to 99; a few different frames take turns.
    """
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 100, (_NOISE_FRAMES, *shape), np.uint8).astype(dtype)
    return Series("noise", len(positions_m), lambda index: images[index % _NOISE_FRAMES], positions_m)
