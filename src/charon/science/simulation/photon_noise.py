"""Photon counting: exact Poisson samples of a whole frame, quickly."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
from scipy import special

# Expectations are split into a multiple of this and a rest; fewer levels leave more photons to deal out.
_STEP = 0.25
_LEVELS = 256
_CELLS = 256


def draw_counts(expected: npt.NDArray[np.float32], rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """Draw independent Poisson counts for every pixel of a frame.

    The sum of independent Poisson counts is one itself, so each expectation may be split in two. Its
    multiple of 1/4 photon is sampled from a table of cumulative probabilities. The rests of all pixels
    are drawn together, as one number of photons that are then dealt out, each falling on a pixel with
    a probability in proportion to its rest: exact, and it costs time for photons rather than for
    pixels, most of which are dark. Pixels of 64 photons and more are sampled one by one.

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
    rest = flat - levels.astype(np.float32) * np.float32(_STEP)
    rest[bright] = 0.0
    counts = _deal(rest, rng)
    counts[bright] += rng.poisson(flat[bright])
    middle = np.flatnonzero(levels)
    counts[middle] += _draw_from_tables(levels[middle], rng)
    return counts.astype(np.int32).reshape(expected.shape)


def _deal(expected: npt.NDArray[np.floating], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw the number of all photons, and where each falls."""
    edges = np.cumsum(expected, dtype=np.float64)
    photons = int(rng.poisson(edges[-1]))
    spacings = np.cumsum(rng.standard_exponential(photons + 1))
    # Sorted keys make the search run through memory once.
    keys = spacings[:-1] * (edges[-1] / spacings[-1])
    pixels = np.searchsorted(edges, keys, side="right")
    return np.bincount(pixels, minlength=expected.size)[: expected.size]


def _draw_from_tables(levels: npt.NDArray[np.int32], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Invert the cumulative probabilities: start where the guide says, go up while they are below."""
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
    """Return (levels, counts) cumulative probabilities and (levels, cells) the least count of each cell."""
    expected = np.arange(_LEVELS) * _STEP
    most = int(_LEVELS * _STEP + 14 * np.sqrt(_LEVELS * _STEP))
    cumulative = special.pdtr(np.arange(most), expected[:, None])
    # Rounding must not leave a uniform number above the last one.
    cumulative[:, -1] = 2.0
    cells = np.arange(_CELLS) / _CELLS
    guide = np.stack([np.searchsorted(row, cells, side="right") for row in cumulative])
    return cumulative, guide
