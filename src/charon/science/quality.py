"""Compare a stitched phase with the ground truth: correlation and structural similarity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
from scipy import ndimage

if TYPE_CHECKING:
    from charon.science.simulation.sample import Sample

_ndimage = cast("Any", ndimage)  # SciPy has no type information

_SIGMA = 1.5
_TRUNCATE = 3.5
_K1, _K2 = 0.01, 0.03
# Pixels with a smaller fraction of the largest weight are the edge of the canvas and are not compared.
MIN_RELATIVE_WEIGHT = 0.5


@dataclass(frozen=True)
class PhaseQuality:
    """Result of one comparison.

    Parameters
    ----------
    pearson_r
        Correlation of the two phases over the region.
    ssim
        Mean structural similarity over the region, after the offset was removed and the smallest phase of the truth
        was set to 0 in both.
    rms_rad
        Root mean square of the difference after the offset was removed.
    offset_rad
        Offset that was removed: the mean difference.
    data_range_rad
        Largest minus smallest phase of the truth in the region; the dynamic range of SSIM.
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
    """Compare two phases on the same grid up to a constant.

    Parameters
    ----------
    phase, truth
        (rows, columns), rad.
    region
        (rows, columns) bool: the pixels to compare.

    Raises
    ------
    ValueError
        If the shapes differ, the region is empty, or the truth is constant in the region.

    References
    ----------
    Wang et al., IEEE Trans. Image Process. 13, 600 (2004), doi:10.1109/TIP.2003.819861: Gaussian window of
    1.5 pixels, K1 = 0.01, K2 = 0.03. Windows at the edge of the region use only the pixels inside it.
    """
    if not phase.shape == truth.shape == region.shape:
        raise ValueError(f"shapes differ: phase {phase.shape}, truth {truth.shape}, region {region.shape}")
    if not region.any():
        raise ValueError("the region to compare is empty")
    inside_phase, inside_truth = phase[region].astype(np.float64), truth[region].astype(np.float64)
    data_range = float(np.ptp(inside_truth))
    if data_range == 0.0:
        raise ValueError("the truth is constant in the region: its correlation is undefined")
    offset = float(np.mean(inside_phase - inside_truth))
    # SSIM is defined for brightness from 0 up and is most sensitive at 0, so the smallest true phase becomes 0.
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
    """Compare a canvas with the phase of a sample, interpolated at the pixels of the canvas.

    Parameters
    ----------
    phase, weight
        (rows, columns): rad, and the sum of weights. Pixels with at least half of the largest weight are compared.
    origin_m
        x and y in m of the centre of pixel (0, 0) of the canvas.
    pixel_m
        Pixel size of the canvas in m.
    sample
        Ground truth.
    """
    truth, within = sample_phase(sample, origin_m, pixel_m, phase.shape)
    region = within & (weight >= MIN_RELATIVE_WEIGHT * weight.max())
    return compare_phase(phase, truth, region)


def sample_phase(
    sample: Sample, origin_m: tuple[float, float], pixel_m: float, shape: tuple[int, ...]
) -> tuple[npt.NDArray[np.floating], npt.NDArray[np.bool_]]:
    """Return the phase of a sample at the pixels of a canvas, and which of the pixels are inside the sample.

    Parameters
    ----------
    sample
        Ground truth.
    origin_m
        x and y in m of the centre of pixel (0, 0) of the canvas.
    pixel_m
        Pixel size of the canvas in m.
    shape
        Rows and columns of the canvas.
    """
    rows = (origin_m[1] + np.arange(shape[0]) * pixel_m - sample.origin_m[1]) / sample.pixel_m
    columns = (origin_m[0] + np.arange(shape[1]) * pixel_m - sample.origin_m[0]) / sample.pixel_m
    grid = np.meshgrid(rows, columns, indexing="ij")
    # Interpolate real and imaginary part, because the phase may wrap between two pixels.
    real: npt.NDArray[np.floating] = _ndimage.map_coordinates(sample.transmission.real, grid, order=1, mode="nearest")
    imaginary: npt.NDArray[np.floating] = _ndimage.map_coordinates(
        sample.transmission.imag, grid, order=1, mode="nearest"
    )
    limits = np.array(sample.transmission.shape) - 1
    within = (grid[0] >= 0) & (grid[0] <= limits[0]) & (grid[1] >= 0) & (grid[1] <= limits[1])
    return np.arctan2(imaginary, real), within


def ssim_map(
    first: npt.NDArray[np.floating],
    second: npt.NDArray[np.floating],
    region: npt.NDArray[np.bool_],
    data_range: float,
) -> npt.NDArray[np.float64]:
    """Return the structural similarity around each pixel of a region; see `compare_phase`.

    Parameters
    ----------
    first, second
        (rows, columns).
    region
        (rows, columns) bool; pixels outside are excluded from all windows.
    data_range
        Dynamic range of the values.
    """
    coverage = np.maximum(_blur(region.astype(np.float64)), 1e-12)

    def mean(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return _blur(np.where(region, values, 0.0)) / coverage

    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = mean(x), mean(y)
    variance_x = mean(x * x) - mean_x**2
    variance_y = mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    return luminance * (2 * covariance + c2) / (variance_x + variance_y + c2)


def _blur(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return _ndimage.gaussian_filter(values, _SIGMA, truncate=_TRUNCATE, mode="reflect")
