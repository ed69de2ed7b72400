"""Ratios with confidence intervals, and summaries of samples.

Decision record 0018 explains the choice of the intervals and their measured coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

_special = cast("Any", special)  # SciPy has no type information

_CONFIDENCE = 0.95
_MAX_LOG = math.log(1e100)
"""Largest logarithm of a ratio: figures cannot show larger ones."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """Ratio of two figures with its 95 % confidence interval.

    Parameters
    ----------
    value
        The ratio.
    low, high
        Limits of the interval; None if there are too few values.
    pairs
        Number of pairs; for values without pairs the number on the smaller side.
    """

    value: float
    low: float | None
    high: float | None
    pairs: int

    @property
    def covers_1(self) -> bool | None:
        """Whether the interval contains 1; None without an interval."""
        return None if self.low is None or self.high is None else self.low <= 1.0 <= self.high


def ecdf(values: ArrayLike, max_points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the empirical distribution function of values at some of them.

    Parameters
    ----------
    values
        (n,) values; those that are not finite are ignored.
    max_points
        Largest number of points. The smallest and the largest value are always among them; at least 2.

    Returns
    -------
    x, fraction
        (k,) float64 each: distinct values in order, and the fraction of values that are not larger.
    """
    if max_points < 2:
        raise ValueError(f"an ECDF of {max_points} points was requested; use at least 2")
    ordered = np.sort(_finite(values))
    if len(ordered) > max_points:
        rows = np.round(np.linspace(0, len(ordered) - 1, max_points)).astype(np.int64)
        x = np.unique(ordered[rows])
    else:
        x = np.unique(ordered)
    return x, np.searchsorted(ordered, x, side="right") / max(1, len(ordered))


def paired_ratio(a: Sequence[float | None], b: Sequence[float | None]) -> Ratio | None:
    """Return the geometric mean of the ratios of pairs, with the t interval of their logarithms.

    Parameters
    ----------
    a, b
        Figures of the same repetitions. A pair with a missing figure is skipped.

    Returns
    -------
    ratio
        None if there is no pair, or if a figure is not positive: such a pair has no ratio, and the others alone would
        be a biased selection.

    Raises
    ------
    ValueError
        If the sides have different lengths.
    """
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    logs = _logs([x for x, _ in pairs]), _logs([y for _, y in pairs])
    if logs[0] is None or logs[1] is None:
        return None
    differences = logs[0] - logs[1]
    n = len(differences)
    error = None if n < 2 else float(np.std(differences, ddof=1)) / math.sqrt(n)
    return _ratio(float(np.mean(differences)), error, n - 1, n)


def unpaired_ratio(a: Sequence[float | None], b: Sequence[float | None]) -> Ratio | None:
    """Return the ratio of the geometric means of two sides, with the Welch interval of their logarithms.

    Parameters
    ----------
    a, b
        Figures of repetitions that are not paired, for example of two machines. Missing figures are skipped.

    Returns
    -------
    ratio
        None if a side has no figure or one that is not positive; without an interval if a side has only one.
    """
    logs_a, logs_b = (_logs([x for x in side if x is not None]) for side in (a, b))
    if logs_a is None or logs_b is None:
        return None
    variances = _mean_variance(logs_a), _mean_variance(logs_b)
    return _welch(float(np.mean(logs_a) - np.mean(logs_b)), variances, (len(logs_a), len(logs_b)))


def ratio_of_means(a: ArrayLike, b: ArrayLike) -> Ratio | None:
    """Return the ratio of two arithmetic means, with the Welch interval of their logarithms by the delta method.

    Parameters
    ----------
    a, b
        (n,) and (m,) independent values, such as those of `batch_means`. Single values may be 0.

    Returns
    -------
    ratio
        None if a side is empty, its mean is not positive, or the means differ by more than `_MAX_LOG`; without an
        interval if a side has only one value.
    """
    sides = _finite(a), _finite(b)
    if not len(sides[0]) or not len(sides[1]):
        return None
    means = float(np.mean(sides[0])), float(np.mean(sides[1]))
    if means[0] <= 0 or means[1] <= 0:
        return None
    log_ratio = math.log(means[0]) - math.log(means[1])
    if abs(log_ratio) > _MAX_LOG:
        return None
    scaled = _mean_variance(sides[0] / means[0]), _mean_variance(sides[1] / means[1])
    return _welch(log_ratio, scaled, (len(sides[0]), len(sides[1])))


def batch_means(times: ArrayLike, values: ArrayLike, block_s: float) -> NDArray[np.float64]:
    """Return the means of a series over blocks of equal duration.

    Neighbouring samples of a series are correlated, so an interval from the samples themselves is too narrow. Means
    over blocks that are longer than the correlation are nearly independent.

    Parameters
    ----------
    times
        (n,) times in s, in any order.
    values
        (n,) values; those that are not finite are ignored.
    block_s
        Duration of a block. A last block with less than half of the median number of samples is omitted.

    Returns
    -------
    means
        (blocks,) float64, in the order of time.

    Raises
    ------
    ValueError
        If the duration is not positive.
    """
    if block_s <= 0:
        raise ValueError(f"duration of a block is {block_s} s; use a positive duration")
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    is_finite = np.isfinite(values)
    times, values = times[is_finite], values[is_finite]
    if not len(values):
        return np.empty(0)
    _, blocks = np.unique(np.floor((times - times.min()) / block_s), return_inverse=True)
    counts = np.bincount(blocks)
    means = np.bincount(blocks, values) / counts
    return means[:-1] if len(counts) > 1 and counts[-1] < np.median(counts) / 2 else means


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64)
    return array[np.isfinite(array)]


def _logs(values: Sequence[float]) -> NDArray[np.float64] | None:
    """Return the logarithms of values; None if there is no value, or one that is not positive and finite."""
    array = np.asarray(values, np.float64)
    return np.log(array) if len(array) and np.all(np.isfinite(array) & (array > 0)) else None


def _mean_variance(values: NDArray[np.float64]) -> float | None:
    """Return the variance of the mean; None for fewer than two values."""
    return None if len(values) < 2 else float(np.var(values, ddof=1)) / len(values)


def _welch(log_ratio: float, variances: tuple[float | None, float | None], sizes: tuple[int, int]) -> Ratio:
    if variances[0] is None or variances[1] is None:
        return _ratio(log_ratio, None, 0, min(sizes))
    total = variances[0] + variances[1]
    squares = variances[0] ** 2 / (sizes[0] - 1) + variances[1] ** 2 / (sizes[1] - 1)
    # Equal values on both sides have no variance, and an interval of no width.
    freedom = total**2 / squares if squares > 0 else sum(sizes) - 2
    return _ratio(log_ratio, math.sqrt(total), freedom, min(sizes))


def _ratio(log_ratio: float, error: float | None, freedom: float, pairs: int) -> Ratio:
    if error is None:
        return Ratio(math.exp(log_ratio), None, None, pairs)
    half = float(_special.stdtrit(freedom, (1 + _CONFIDENCE) / 2)) * error
    return Ratio(math.exp(log_ratio), math.exp(log_ratio - half), _exp(log_ratio + half), pairs)


def _exp(value: float) -> float:
    """Return the exponential; infinity instead of an overflow, for two very different pairs."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
