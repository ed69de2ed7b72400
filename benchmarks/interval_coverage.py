"""Measure how often 95 % intervals of a ratio of latencies contain the true ratio, for several methods.

Simulated comparisons: the state of the machine drifts from one repetition to the next and is common to the two
neighbouring cells; each cell deviates by itself; the latencies of the frames of a cell are autocorrelated. Then the
same for the ratio of the means of two autocorrelated series of metrics, as files of `charonctl metrics` contain them.

.venv/bin/python benchmarks/interval_coverage.py [comparisons]
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import signal, stats

from charon.comparison.statistics import batch_means, paired_ratio, ratio_of_means, unpaired_ratio

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

TRUE_RATIO = 1.0
FRAMES = 400
DRIFT, CELL, FRAME = 0.10, 0.02, 0.15  # standard deviations of the logarithm
CORRELATION = 0.9
RESAMPLES = 400

Interval = tuple[float, float]


def simulate(rng: np.random.Generator, repetitions: int) -> NDArray[np.float64]:
    """Return latencies in ms, (2 sides, repetitions, frames)."""
    machine = np.cumsum(rng.normal(0, DRIFT, repetitions))
    cells = machine + rng.normal(0, CELL, (2, repetitions)) + np.log([[TRUE_RATIO], [1.0]])
    white = rng.normal(0, FRAME * np.sqrt(1 - CORRELATION**2), (2, repetitions, FRAMES + 100))
    filtered: Any = signal.lfilter([1.0], [1.0, -CORRELATION], white)
    return 5 * np.exp(cells[:, :, None] + filtered[:, :, 100:])


def paired_t(frames: NDArray[np.float64], _rng: np.random.Generator) -> Interval:
    """Return the t interval of the logarithms of the ratios of pairs: the one that `charonctl compare` uses."""
    ratio = paired_ratio(*np.median(frames, axis=2).tolist())
    assert ratio is not None
    assert ratio.low is not None
    assert ratio.high is not None
    return ratio.low, ratio.high


def welch(frames: NDArray[np.float64], _rng: np.random.Generator) -> Interval:
    """Return the Welch interval of the logarithms, which ignores the pairs."""
    ratio = unpaired_ratio(*np.median(frames, axis=2).tolist())
    assert ratio is not None
    assert ratio.low is not None
    assert ratio.high is not None
    return ratio.low, ratio.high


def frame_bootstrap(frames: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    """Return the percentile interval of the ratio of medians, from resampled frames of all repetitions."""
    a, b = frames.reshape(2, -1)
    rows = rng.integers(a.size, size=(2, RESAMPLES, a.size))
    return _percentiles(np.median(a[rows[0]], axis=1) / np.median(b[rows[1]], axis=1))


def hierarchical_bootstrap(frames: NDArray[np.float64], rng: np.random.Generator) -> Interval:
    """Return the percentile interval from resampled pairs, and within them resampled frames."""
    _, repetitions, count = frames.shape
    ratios = np.empty(RESAMPLES)
    for k in range(RESAMPLES):
        pairs = rng.integers(repetitions, size=repetitions)
        rows = rng.integers(count, size=(2, repetitions, count))
        medians = np.median(np.take_along_axis(frames[:, pairs], rows, axis=2), axis=2)
        ratios[k] = np.exp(np.mean(np.log(medians[0] / medians[1])))
    return _percentiles(ratios)


def mann_whitney(frames: NDArray[np.float64], _rng: np.random.Generator) -> Interval:
    """Return an interval that contains 1 if the test of equal distributions of all frames does not reject."""
    a, b = frames.reshape(2, -1)
    p_value = float(stats.mannwhitneyu(a, b).pvalue)
    return (TRUE_RATIO, TRUE_RATIO) if p_value >= 0.05 else (np.inf, np.inf)


def wilcoxon(frames: NDArray[np.float64], _rng: np.random.Generator) -> Interval:
    """Return the range of the ratios of pairs that the signed-rank test of pairs does not reject."""
    logs = np.log(np.median(frames, axis=2))
    differences = logs[0] - logs[1]
    walsh = np.sort([(x + y) / 2 for k, x in enumerate(differences) for y in differences[k:]])
    test: Any = stats.wilcoxon
    tail = [float(test(differences - shift).pvalue) >= 0.05 for shift in walsh[:-1] + 1e-9]
    if all(tail):
        return 0.0, np.inf
    accepted = walsh[:-1][tail]
    return float(np.exp(accepted[0])), float(np.exp(accepted[-1]))


def _percentiles(ratios: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)


METHODS: dict[str, Callable[[NDArray[np.float64], np.random.Generator], Interval]] = {
    "paired t of logarithms": paired_t,
    "Welch of logarithms": welch,
    "bootstrap of frames": frame_bootstrap,
    "hierarchical bootstrap": hierarchical_bootstrap,
    "Mann-Whitney of frames": mann_whitney,
    "Wilcoxon of pairs": wilcoxon,
}


def series_coverage(blocks: int, comparisons: int) -> float:
    """Return the coverage of the ratio of the means of two series of 600 samples, from means over blocks."""
    rng = np.random.default_rng(blocks)
    covered = 0
    for _ in range(comparisons):
        filtered: Any = signal.lfilter([1.0], [1.0, -CORRELATION], rng.normal(0, 1, (2, 700)))
        a, b = 100 * (TRUE_RATIO + 0.05 * filtered[0, 100:]), 100 * (1 + 0.05 * filtered[1, 100:])
        ratio = ratio_of_means(*(batch_means(np.arange(600), side, 600 / blocks) for side in (a, b)))
        assert ratio is not None
        assert ratio.low is not None
        assert ratio.high is not None
        covered += ratio.low <= TRUE_RATIO <= ratio.high
    return covered / comparisons


def main() -> None:
    """Print coverage and median width of each method, for several numbers of repetitions."""
    comparisons = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    print(f"{comparisons} comparisons; coverage of the true ratio, median width of the interval")
    for repetitions in (3, 5, 10):
        rng = np.random.default_rng(repetitions)
        runs = [simulate(rng, repetitions) for _ in range(comparisons)]
        for name, method in METHODS.items():
            intervals = np.array([method(frames, rng) for frames in runs])
            covered = np.mean((intervals[:, 0] <= TRUE_RATIO) & (intervals[:, 1] >= TRUE_RATIO))
            with np.errstate(invalid="ignore"):
                width = np.median(intervals[:, 1] - intervals[:, 0])
            print(f"{repetitions:2d} repetitions  {name:24s} {covered:6.1%}  {width:.3f}", flush=True)
    for blocks in (600, 60, 20, 10):
        print(f"series of 600 samples, {blocks:3d} blocks  {series_coverage(blocks, 4 * comparisons):6.1%}")


if __name__ == "__main__":
    main()
