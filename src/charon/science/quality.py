"""How near a stitched phase is to the truth: correlation and structural similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from charon.science.simulation.sample import Sample

_SIGMA = 1.5
_TRUNCATE = 3.5
_K1, _K2 = 0.01, 0.03
# Where a canvas has less weight than this part of its largest, its rim, it is not compared.
MINIMUM_WEIGHT = 0.5


@dataclass(frozen=True)
class PhaseQuality:
    """Figures of one comparison.

    Parameters
    ----------
    pearson_r
        Correlation of the two phases over the region.
    ssim
        Mean structural similarity over the region, the offset between the two removed, and the truth's
        least phase set to 0 in both.
    rms_rad
        Root mean square of the difference, the offset removed.
    offset_rad
        What was removed: the mean difference.
    data_range_rad
        Largest minus smallest phase of the truth in the region; SSIM refers to it.
    pixels
        Number of pixels compared.
    """

    pearson_r: float
    ssim: float
    rms_rad: float
    offset_rad: float
    data_range_rad: float
    pixels: int


def compare_phase(
    phase: npt.NDArray[np.floating],
    truth: npt.NDArray[np.floating],
    region: npt.NDArray[np.bool_],
) -> PhaseQuality:
    """Compare two phases on one grid, whatever constant lies between them.

    Parameters
    ----------
    phase, truth
        (rows, columns), rad.
    region
        (rows, columns) bool: where they are compared.

    Raises
    ------
    ValueError
        If shapes differ, the region is empty, or the truth is constant in it.

    References
    ----------
    Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861: Gaussian window of
    1.5 pixels, K1 = 0.01, K2 = 0.03. Windows at the region's edge take the part of them that lies within.
    """
    if not phase.shape == truth.shape == region.shape:
        raise ValueError(f"shapes differ: phase {phase.shape}, truth {truth.shape}, region {region.shape}")
    if not region.any():
        raise ValueError("there is no common region to compare")
    inside_phase, inside_truth = phase[region].astype(np.float64), truth[region].astype(np.float64)
    data_range = float(np.ptp(inside_truth))
    if data_range == 0.0:
        raise ValueError("the truth is constant in the region: correlation has no meaning there")
    offset = float(np.mean(inside_phase - inside_truth))
    # SSIM is made for brightness from 0 up, and is most sensitive at 0: the truth's least phase is put there.
    base = float(np.min(inside_truth))
    similarity = ssim_map(phase - offset - base, truth - base, region, data_range)
    return PhaseQuality(
        pearson_r=float(np.corrcoef(inside_phase, inside_truth)[0, 1]),
        ssim=float(np.mean(similarity[region])),
        rms_rad=float(np.std(inside_phase - inside_truth)),
        offset_rad=offset,
        data_range_rad=data_range,
        pixels=int(region.sum()),
    )


def compare_to_sample(
    phase: npt.NDArray[np.floating],
    weight: npt.NDArray[np.floating],
    origin_m: tuple[float, float],
    pixel_m: float,
    sample: Sample,
) -> PhaseQuality:
    """Compare a canvas to a sample's phase, sampled at the canvas's pixels.

    Parameters
    ----------
    phase, weight
        (rows, columns): rad, and the sum of weights; compared is where it is at least half of its largest.
    origin_m
        x and y of the centre of the canvas's pixel (0, 0).
    pixel_m
        Side of the canvas's pixels.
    sample
        The truth.
    """
    truth, within = sample_phase(sample, origin_m, pixel_m, phase.shape)
    region = within & (weight >= MINIMUM_WEIGHT * weight.max())
    return compare_phase(phase, truth, region)


def sample_phase(
    sample: Sample, origin_m: tuple[float, float], pixel_m: float, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
    """Return a sample's phase at the pixels of a canvas, and which of them lie on the sample.

    Parameters
    ----------
    sample
        The truth.
    origin_m
        x and y of the centre of the canvas's pixel (0, 0).
    pixel_m
        Side of the canvas's pixels.
    shape
        Rows and columns of the canvas.
    """
    rows = (origin_m[1] + np.arange(shape[0]) * pixel_m - sample.origin_m[1]) / sample.pixel_m
    columns = (origin_m[0] + np.arange(shape[1]) * pixel_m - sample.origin_m[0]) / sample.pixel_m
    grid = np.meshgrid(rows, columns, indexing="ij")
    # Real and imaginary part are interpolated, as a phase may wrap between two pixels.
    real = ndimage.map_coordinates(sample.transmission.real, grid, order=1, mode="nearest")
    imaginary = ndimage.map_coordinates(sample.transmission.imag, grid, order=1, mode="nearest")
    limits = np.array(sample.transmission.shape) - 1
    within = (grid[0] >= 0) & (grid[0] <= limits[0]) & (grid[1] >= 0) & (grid[1] <= limits[1])
    return np.arctan2(imaginary, real), within


def ssim_map(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    region: npt.NDArray[np.bool_],
    data_range: float,
) -> npt.NDArray[np.float64]:
    """Return the structural similarity about each pixel of a region; see `compare_phase`.

    Parameters
    ----------
    first, second
        (rows, columns).
    region
        (rows, columns) bool; what lies outside has no part in any window.
    data_range
        The span of values that similarity refers to.
    """
    share = np.maximum(_blur(region.astype(np.float64)), 1e-12)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return _blur(np.where(region, values, 0.0)) / share

    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    variance_x = mean(x * x) - mean_x**2
    variance_y = mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def _blur(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return ndimage.gaussian_filter(values, _SIGMA, truncate=_TRUNCATE, mode="reflect")
