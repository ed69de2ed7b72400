"""Evaluate a bundle: simulate a scan, reconstruct, stitch and compare with the true phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.adapters.inference import open_backend
from charon.science.preprocess import Geometry
from charon.science.quality import PhaseQuality, compare_to_sample
from charon.science.simulation.grid import radius_from_centre

if TYPE_CHECKING:
    from charon.adapters.inference.bundle import Bundle
    from charon.adapters.inference.card import PatchCard
    from charon.science.simulation import Experiment

_BATCH_SIZE = 32


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Phase stitched from the patches of a scan.

    Parameters
    ----------
    phase, weight
        (rows, columns) float64: phase in rad, and the sum of weights.
    origin_m
        x and y in m of the centre of pixel (0, 0).
    pixel_m
        Pixel size in m.
    """

    phase: npt.NDArray[np.float64]
    weight: npt.NDArray[np.float64]
    origin_m: tuple[float, float]
    pixel_m: float


def reconstruct(
    bundle: Bundle, experiment: Experiment, *, backend: str = "openvino", threads: int = 1
) -> Reconstruction:
    """Reconstruct every frame of an experiment and stitch the patches with the weights of the card.

    Patches are added at the nearest pixel, without interpolation. Use scan steps of whole pixels, so that the
    figures measure the network alone.

    Parameters
    ----------
    bundle
        Network and geometry.
    experiment
        Source of the frames; they must have the detector shape of the bundle.
    backend, threads
        Back end that runs the network, see `open_backend`.
    """
    card = bundle.card
    network = open_backend(backend, bundle.model_path, threads=threads)
    geometry = Geometry(card.input.detector_shape, card.input.crop, card.input.binning)
    pixel = card.patch.pixel_m
    corners = np.rint(experiment.positions_m[:, ::-1] / pixel).astype(np.int64)
    first = corners.min(axis=0)
    rows, columns = card.patch.shape
    shape = tuple(corners.max(axis=0) - first + (rows, columns))
    total, weight = np.zeros(shape), np.zeros(shape)
    weights = patch_weights(card.patch)
    for start in range(0, len(experiment), _BATCH_SIZE):
        indices = range(start, min(start + _BATCH_SIZE, len(experiment)))
        counts = np.stack([geometry.apply(experiment.frame(index)).astype(np.float32) for index in indices])
        for index, phase in zip(indices, network.infer(counts)["phase"], strict=True):
            row, column = corners[index] - first
            window = np.s_[row : row + rows, column : column + columns]
            total[window] += weights * phase
            weight[window] += weights
    phase = total / np.where(weight > 0, weight, 1.0)
    origin = (first[1] - columns / 2) * pixel, (first[0] - rows / 2) * pixel
    return Reconstruction(phase, weight, origin, pixel)


def evaluate(bundle: Bundle, experiment: Experiment, *, backend: str = "openvino", threads: int = 1) -> PhaseQuality:
    """Compare the reconstruction of an experiment with its true phase; see `reconstruct`."""
    result = reconstruct(bundle, experiment, backend=backend, threads=threads)
    return compare_to_sample(result.phase, result.weight, result.origin_m, result.pixel_m, experiment.sample)


def patch_weights(patch: PatchCard) -> npt.NDArray[np.float64]:
    """Return the stitching weight of each pixel, (rows, columns); 1 if the card has no weight profile."""
    if patch.weight_profile is None:
        return np.ones(patch.shape)
    return np.interp(
        radius_from_centre(patch.shape), np.arange(len(patch.weight_profile)), patch.weight_profile, right=0.0
    )
