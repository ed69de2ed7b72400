"""Simulated pairs of diffraction pattern and patch to train a network on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.science.simulation.experiment import diffract
from charon.science.simulation.training_objects import random_shapes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charon.science.preprocess import Geometry
    from charon.science.simulation.instrument import Instrument

_PATCHES_PER_OBJECT = 16
_OBJECT_MARGIN = 160
ROOT_SCALE = 1000.0


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """Noise-free diffraction patterns and their patches.

    Parameters
    ----------
    root_intensity
        (N, rows, columns) float16: square root of the expected binned counts at one photon per frame, times
        `ROOT_SCALE`. The square root fits the range of float16.
    phase, amplitude
        (N, rows, columns) float16: phase in rad; amplitude, 1 in empty areas.
    """

    root_intensity: npt.NDArray[np.float16]
    phase: npt.NDArray[np.float16]
    amplitude: npt.NDArray[np.float16]

    def __len__(self) -> int:
        return len(self.phase)


def simulate_pairs(
    instrument: Instrument,
    probe: npt.NDArray[np.complexfloating],
    geometry: Geometry,
    count: int,
    seed: int,
) -> TrainingPairs:
    """Simulate pairs from random objects, 16 scan positions each.

    Parameters
    ----------
    instrument
        Geometry of detector and object grid.
    probe
        (modes, rows, columns) complex, incoherent modes whose energies sum to 1.
    geometry
        Crop and binning of the network's input.
    count
        Number of pairs.
    seed
        Random seed for objects and positions; different seeds give different objects.
    """
    rows, columns = instrument.patch_shape
    root = np.empty((count, *geometry.output_shape), np.float16)
    phase = np.empty((count, rows, columns), np.float16)
    amplitude = np.empty_like(phase)
    for index, patch in enumerate(_random_patches(instrument, count, np.random.default_rng((seed, 0)))):
        frame = diffract(probe * patch, instrument.detector_shape)
        root[index] = np.sqrt(geometry.apply(frame)) * ROOT_SCALE
        phase[index] = np.angle(patch)
        amplitude[index] = np.abs(patch)
    return TrainingPairs(root, phase, amplitude)


def _random_patches(
    instrument: Instrument, count: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.complex64]]:
    rows, columns = instrument.patch_shape
    shape = (rows + _OBJECT_MARGIN, columns + _OBJECT_MARGIN)
    for start in range(0, count, _PATCHES_PER_OBJECT):
        sample = random_shapes(shape, int(rng.integers(1 << 62)), pixel_m=instrument.object_pixel_m)
        for _ in range(min(_PATCHES_PER_OBJECT, count - start)):
            row, column = rng.integers(0, _OBJECT_MARGIN + 1, 2).tolist()
            yield sample.transmission[row : row + rows, column : column + columns]
