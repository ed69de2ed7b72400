"""A stitched phase beside the simulated truth: figures and a picture."""

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
    """Compare a stitched phase with the object that was simulated, and draw both.

    Parameters
    ----------
    stitched
        The scan's HDF5 file.
    truth
        ``object``, ``origin_m``, ``pixel_m``: what ``charonctl detector --truth`` writes.
    picture
        Where the picture goes.

    Returns
    -------
    ``pearson_r``, ``ssim``, ``rms_rad`` and ``pixels``; empty where one of the files is missing or
    nothing was stitched.
    """
    if not stitched.exists() or not truth.exists():
        return {}
    image = read_image(stitched)
    if image is None:
        return {}
    with np.load(truth) as known:
        sample = Sample(known["object"], float(known["pixel_m"]), "truth")
    quality = compare_to_sample(image.phase, image.weight, image.origin_m, image.pixel_m, sample)
    shown = np.where(image.weight >= 0.02 * image.weight.max(), image.phase, np.nan)
    true_phase, within = sample_phase(sample, image.origin_m, image.pixel_m, image.phase.shape)
    write_comparison_png(picture, shown, np.where(within, true_phase, np.nan), image.pixel_m)
    return {
        "pearson_r": round(quality.pearson_r, 4),
        "ssim": round(quality.ssim, 4),
        "rms_rad": round(quality.rms_rad, 4),
        "pixels": quality.pixels,
    }
