"""Pairs of diffraction pattern and patch to train a network on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.science.simulation.experiment import diffract
from charon.science.simulation.training_objects import random_shapes

if TYPE_CHECKING:
    from charon.science.preprocess import Geometry
    from charon.science.simulation.instrument import Instrument

_PATCHES_PER_OBJECT = 16
_OBJECT_MARGIN = 160


@dataclass(frozen=True, eq=False)
class Pairs:
    """Noise-free patterns and the patches that they are of.

    Parameters
    ----------
    root_intensity
        (N, rows, columns) float16: square root of the binned counts that are expected of one photon a frame,
        times 1,000; a square root spans what float16 holds.
    phase, amplitude
        (N, rows, columns) float16: rad, and 1 where nothing is.
    """

    root_intensity: npt.NDArray[np.float16]
    phase: npt.NDArray[np.float16]
    amplitude: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.phase)


ROOT_SCALE = 1000.0


def simulate_pairs(
    instrument: Instrument,
    probe: npt.NDArray[np.complexfloating],
    geometry: Geometry,
    count: int,
    seed: int,
) -> Pairs:
    """Simulate patterns of random shapes, 16 places of each object.

    Parameters
    ----------
    instrument
        Geometry of detector and object grid.
    probe
        (modes, rows, columns) complex, incoherent modes whose energies sum to 1.
    geometry
        Of the network's input.
    count
        Number of pairs.
    seed
        Objects are drawn from it; two seeds share no object.
    """
    rows, columns = instrument.patch_shape
    root = np.empty((count, *geometry.output_shape), np.float16)
    phase = np.empty((count, rows, columns), np.float16)
    amplitude = np.empty_like(phase)
    rng = np.random.default_rng((seed, 0))
    for index in range(count):
        if index % _PATCHES_PER_OBJECT == 0:
            shape = (rows + _OBJECT_MARGIN, columns + _OBJECT_MARGIN)
            transmission = random_shapes(
                shape, int(rng.integers(2**62)), pixel_m=instrument.object_pixel_m
            ).transmission
        row, column = rng.integers(0, _OBJECT_MARGIN + 1, 2)
        patch = transmission[row : row + rows, column : column + columns]  # pyright: ignore[reportPossiblyUnboundVariable]
        frame = diffract(probe * patch, instrument.detector_shape)
        root[index] = np.sqrt(geometry.apply(frame)) * ROOT_SCALE
        phase[index] = np.angle(patch)
        amplitude[index] = np.abs(patch)
    return Pairs(root, phase, amplitude)
