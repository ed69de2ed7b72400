"""Compare a stitched phase with the simulated truth: figures and a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.storage.nexus_reader import read_image
from charon.adapters.storage.picture import write_comparison_png
from charon.science.quality import compare_to_sample, sample_phase
from charon.science.simulation import Sample

if TYPE_CHECKING:
    from pathlib import Path


def compare_with_truth(stitched: Path, truth: Path, picture: Path) -> dict[str, float]:
    """Compare a stitched phase with the simulated sample, and draw both.

    Parameters
    ----------
    stitched
        HDF5 file of the scan.
    truth
        File that ``charonctl detector --truth`` wrote, with ``object``, ``origin_m`` and ``pixel_m``.
    picture
        Path of the picture (PNG).

    Returns
    -------
    dict
        ``pearson_r``, ``ssim``, ``rms_rad`` and ``pixels``; empty if a file is missing or the file has no image.
    """
    if not stitched.exists() or not truth.exists():
        return {}
    image = read_image(stitched)
    if image is None:
        return {}
    with np.load(truth) as file:
        sample = Sample(file["object"], float(file["pixel_m"]), "truth")
    quality = compare_to_sample(image.phase, image.weight, image.origin_m, image.pixel_m, sample)
    stitched_phase = np.where(image.weight >= 0.02 * image.weight.max(), image.phase, np.nan)
    true_phase, inside = sample_phase(sample, image.origin_m, image.pixel_m, image.phase.shape)
    write_comparison_png(picture, stitched_phase, np.where(inside, true_phase, np.nan), image.pixel_m)
    return {
        "pearson_r": round(quality.pearson_r, 4),
        "ssim": round(quality.ssim, 4),
        "rms_rad": round(quality.rms_rad, 4),
        "pixels": quality.pixels,
    }
