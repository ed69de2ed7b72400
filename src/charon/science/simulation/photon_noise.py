"""Photon noise: exact Poisson samples of a frame, faster than NumPy's sampler."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from scipy import special

# Each expectation is split into a multiple of this step and a remainder. A larger step needs fewer levels, but
# leaves more photons to distribute one by one.
_STEP = 0.25
_LEVELS = 256
_CELLS = 256


def draw_counts(expected: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Draw independent Poisson counts for every pixel of a frame.

    The sum of independent Poisson counts is Poisson-distributed, so each expectation may be split in two. The
    multiple of 1/4 photon is sampled from a table of cumulative probabilities. For the remainders, the total
    number of photons of the frame is drawn once, and each photon is assigned to a pixel with probability
    proportional to the pixel's remainder. This is exact, and its cost grows with the number of photons rather
    than of pixels, most of which are dark. Pixels of 64 photons and more are sampled one by one.

    Parameters
    ----------
    expected
        (rows, columns) float32, expected counts, not negative.
    rng
        Source of randomness.

    Returns
    -------
    ndarray
        (rows, columns) int32.

    References
    ----------
    Devroye, Non-Uniform Random Variate Generation (1986), doi:10.1007/978-1-4613-8643-8: guide tables,
    chapter III.2; sorted uniform numbers from exponential spacings, chapter V.3.
    """
    flat = expected.ravel()
    levels = (flat * np.float32(1 / _STEP)).astype(np.int32)
    bright = np.flatnonzero(levels >= _LEVELS)
    levels[bright] = 0
    remainder = flat - levels.astype(np.float32) * np.float32(_STEP)
    remainder[bright] = 0.0
    counts = _distribute_photons(remainder, rng)
    counts[bright] += rng.poisson(flat[bright])
    tabulated = np.flatnonzero(levels)
    counts[tabulated] += _draw_from_tables(levels[tabulated], rng)
    return counts.astype(np.int32).reshape(expected.shape)


def _distribute_photons(expected: npt.NDArray[np.floating], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw the total number of photons, and the pixel of each."""
    edges = np.cumsum(expected, dtype=np.float64)
    photons = int(rng.poisson(float(edges[-1])))
    spacings = np.cumsum(rng.standard_exponential(photons + 1))
    # Sorted keys make the search access memory in order.
    keys = spacings[:-1] * float(edges[-1] / spacings[-1])
    pixels = edges.searchsorted(keys, side="right")
    return np.bincount(pixels, minlength=expected.size)[: expected.size]


def _draw_from_tables(levels: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Invert the cumulative probabilities: start at the guide's count, and count up while they are too small."""
    cumulative, guide = _tables()
    uniform = rng.random(levels.size)
    counts = guide.ravel()[levels * _CELLS + (uniform * _CELLS).astype(np.int32)]
    width = cumulative.shape[1]
    low = np.flatnonzero(cumulative.ravel()[levels * width + counts] <= uniform)
    while low.size:
        counts[low] += 1
        low = low[cumulative.ravel()[levels[low] * width + counts[low]] <= uniform[low]]
    return counts


@cache
def _tables() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return (levels, counts) cumulative probabilities and the (levels, cells) smallest count of each cell."""
    expected = np.arange(_LEVELS) * _STEP
    max_count = int(_LEVELS * _STEP + 14 * np.sqrt(_LEVELS * _STEP))
    cumulative = cast("Any", special).pdtr(np.arange(max_count), expected[:, None])
    # Rounding must not leave a uniform number above the last entry.
    cumulative[:, -1] = 2.0
    cells = np.arange(_CELLS) / _CELLS
    guide = np.stack([np.searchsorted(row, cells, side="right") for row in cumulative])
    return cumulative, guide
