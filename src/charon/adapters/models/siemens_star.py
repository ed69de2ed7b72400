"""Evaluate a bundle on a Siemens star measured at the Velociprobe, against its iterative reconstruction."""

from __future__ import annotations

import bz2
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.adapters.inference import open_backend
from charon.adapters.models.evaluate import patch_weights
from charon.science.quality import PhaseQuality, compare_phase

if TYPE_CHECKING:
    from pathlib import Path

    from charon.adapters.inference.bundle import Bundle

# Training uses only columns below this one.
HELD_OUT_COLUMN = 260
_MIN_RELATIVE_WEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class MeasuredScan:
    """Measured frames and their iterative reconstruction.

    Parameters
    ----------
    frames
        (N, rows, columns) float32 counts, zero frequency in the centre.
    centres
        (N, 2) float64: row and column of each patch's centre in the object, pixels.
    phase
        (rows, columns) float64, phase of the object in rad.
    """

    frames: npt.NDArray[np.float32]
    centres: npt.NDArray[np.float64]
    phase: npt.NDArray[np.float64]


def load_star(folder: Path) -> MeasuredScan:
    """Read the scan from a folder with ``siemens-star-small.npz.bz2`` and ``siemens-star-small_rpie.npz``."""
    content = bz2.decompress((folder / "siemens-star-small.npz.bz2").read_bytes())
    with np.load(io.BytesIO(content)) as file:
        frames = np.fft.fftshift(file["data"][0], axes=(-2, -1)).astype(np.float32)
    with np.load(folder / "siemens-star-small_rpie.npz") as file:
        corners, phase = file["pos"].astype(np.float64), np.angle(file["obj"]).astype(np.float64)
    return MeasuredScan(frames, corners + np.array(frames.shape[1:]) / 2, phase)


def evaluate_star(bundle: Bundle, scan: MeasuredScan, *, backend: str = "openvino", threads: int = 1) -> PhaseQuality:
    """Stitch the held-out half and compare it with the iterative phase there.

    Parameters
    ----------
    bundle
        Bundle trained for the probe of the scan.
    scan
        The measured scan, see `load_star`.
    backend, threads
        Back end that runs the network, see `open_backend`.
    """
    held_out = scan.centres[:, 1] >= HELD_OUT_COLUMN
    centres = scan.centres[held_out]
    patches = open_backend(backend, bundle.model_path, threads=threads).infer(scan.frames[held_out])["phase"]
    weights = patch_weights(bundle.card.patch)
    total, weight = np.zeros(scan.phase.shape), np.zeros(scan.phase.shape)
    for patch, centre in zip(patches, centres, strict=True):
        _add(total, weights * patch, centre)
        _add(weight, weights, centre)
    region = weight >= _MIN_RELATIVE_WEIGHT * float(np.median(weight[weight > 0.1 * weight.max()]))
    low, high = np.floor(centres.min(axis=0)).astype(int), np.ceil(centres.max(axis=0)).astype(int)
    inside = np.zeros_like(region)
    inside[low[0] : high[0] + 1, max(low[1], HELD_OUT_COLUMN) : high[1] + 1] = True
    return compare_phase(total / np.maximum(weight, 1e-12), scan.phase, region & inside)


def _add(canvas: npt.NDArray[np.float64], patch: npt.NDArray[np.floating], centre: npt.NDArray[np.float64]) -> None:
    """Add a patch at a sub-pixel position with bilinear weights."""
    corner = centre - np.array(patch.shape) / 2
    first = np.floor(corner).astype(int)
    fraction = corner - first
    for row in (0, 1):
        for column in (0, 1):
            share = abs(1 - row - fraction[0]) * abs(1 - column - fraction[1])
            r, c = first[0] + row, first[1] + column
            canvas[r : r + patch.shape[0], c : c + patch.shape[1]] += share * patch
