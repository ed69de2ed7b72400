"""Figures of one cell, from its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.comparison.model import LATENCY_STAGES, LatencyFigures

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charon.comparison.samples import FrameSamples

_NS_PER_S = 1_000_000_000
_BLOCKS = 10
# An engine whose latency grows by more than this fraction of the time has a lower rate than the detector.
_MAX_GROWTH = 0.01
_MIN_GROWTH_S = 0.05
_MAX_END_GROWTH_S = 0.25
# Frames whose rate or median latency is compared with the one before the kill.
_WINDOW_FRAMES = 20
_RATE_WINDOW_S = 1.0
_MIN_RATE = 0.9


def latency_figures(samples: FrameSamples, stage: str, from_ns: int) -> LatencyFigures | None:
    """Return the latency to a stage of the frames published since a time; None if no frame reached the stage.

    Parameters
    ----------
    samples
        Frames of the cell.
    stage
        One of `LATENCY_STAGES`.
    from_ns
        End of the warm-up, ns since 1970.
    """
    latency_ms = latencies_ms(samples, stage, from_ns)
    if not len(latency_ms):
        return None
    p50, p90, p99 = (float(value) for value in np.quantile(latency_ms, [0.5, 0.9, 0.99]))
    return LatencyFigures(count=len(latency_ms), p50=p50, p90=p90, p99=p99, max=float(latency_ms.max()))


def latencies_ms(samples: FrameSamples, stage: str, from_ns: int) -> NDArray[np.float64]:
    """Return the latency in ms of each frame that was published since a time and that reached a stage, (k,) float64.

    Raises
    ------
    ValueError
        If the stage is unknown.
    """
    if stage not in LATENCY_STAGES:
        raise ValueError(f"unknown stage {stage!r}; use one of {', '.join(LATENCY_STAGES)}")
    reached_ns = samples.result_ns if stage == "result" else samples.stitched_ns
    measured = (samples.published_ns >= from_ns) & (reached_ns > 0)
    return (reached_ns[measured] - samples.published_ns[measured]) / 1e6


def offered_hz(samples: FrameSamples, from_ns: int) -> float | None:
    """Return the detector's rate since a time; None for fewer than two frames."""
    return _rate_hz(samples.published_ns[samples.published_ns >= from_ns])


def processed_hz(samples: FrameSamples, from_ns: int) -> float | None:
    """Return the rate of the results of frames published since a time; None for fewer than two results."""
    return _rate_hz(samples.result_ns[(samples.published_ns >= from_ns) & (samples.result_ns > 0)])


def has_kept_up(samples: FrameSamples, from_ns: int) -> bool:
    """Return whether every frame has a result, and the backlog did not grow.

    By Little's law, a frame's latency is the backlog that it found, divided by the rate. The frames after the warm-up
    are split into ten blocks of equal size, and the median latency of each is compared. The backlog grows if the
    Theil-Sen slope of the medians is more than 1 % of the time (and 50 ms in all), or if the last median exceeds
    those of the first half by more than 250 ms. Medians ignore single slow frames.
    """
    measured = samples.published_ns >= from_ns
    if not measured.any() or not np.all(samples.results > 0):
        return False
    published_s = (samples.published_ns[measured] - samples.published_ns[measured][0]) / _NS_PER_S
    latency_s = (samples.result_ns[measured] - samples.published_ns[measured]) / _NS_PER_S
    blocks = np.array_split(np.arange(len(latency_s)), min(_BLOCKS, len(latency_s)))
    times = np.array([float(published_s[block].mean()) for block in blocks])
    medians = np.array([float(np.median(latency_s[block])) for block in blocks])
    span_s = float(published_s[-1])
    if span_s <= 0 or len(blocks) < 2:
        return True
    growth_s = _theil_sen(times, medians) * span_s
    end_growth_s = float(medians[-1] - np.median(medians[: (len(medians) + 1) // 2]))
    return growth_s <= max(_MIN_GROWTH_S, _MAX_GROWTH * span_s) and end_growth_s <= _MAX_END_GROWTH_S


def drain_s(samples: FrameSamples) -> float | None:
    """Return the time from the last published frame to the last result, at least 0; None without a result."""
    if not np.any(samples.result_ns > 0):
        return None
    return max(0.0, int(samples.result_ns.max() - samples.published_ns.max()) / _NS_PER_S)


def recovery_times(samples: FrameSamples, killed_ns: int, from_ns: int) -> tuple[float | None, float | None]:
    """Return the times in s after a kill until the rate, and until the latency, are back at their level before it.

    The rate is back at the first result that is followed by at least 90 % of the results that the detector's rate
    requires, both within the time of 20 frames and within 1 s; results of a backlog count also after the last frame.
    The latency is back at the first frame that was published after the kill and whose median with the next 19 frames
    with a result is not above the level before the kill: its 99th percentile, or 1.5 times its median if that is
    larger. A time is None if that never happens, or if there is nothing to compare with.

    Parameters
    ----------
    samples
        Frames of the cell.
    killed_ns
        Time of the kill, ns since 1970.
    from_ns
        End of the warm-up, ns since 1970.
    """
    return _rate_recovery_s(samples, killed_ns, from_ns), _latency_recovery_s(samples, killed_ns, from_ns)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Rates, backlog and latency of a cell in bins of equal duration; all arrays have the shape (bins,), float64.

    Parameters
    ----------
    t_s
        Centre of each bin in s after the first published frame.
    offered_hz, processed_hz
        Frames published and results in a bin, divided by its duration.
    without_result_hz
        Frames published in a bin that never had a result, divided by its duration.
    backlog
        Frames that were published until the end of a bin and whose result was available only later. Frames that
        never had a result are not included.
    latency_ms
        Median latency of the frames published in a bin; NaN if none of them had a result.
    """

    t_s: NDArray[np.float64]
    offered_hz: NDArray[np.float64]
    processed_hz: NDArray[np.float64]
    without_result_hz: NDArray[np.float64]
    backlog: NDArray[np.float64]
    latency_ms: NDArray[np.float64]


def timeline(samples: FrameSamples, bin_s: float) -> Timeline:
    """Return the timeline of a cell from the first published frame to the last frame or result.

    Raises
    ------
    ValueError
        If the duration of a bin is not positive.
    """
    if bin_s <= 0:
        raise ValueError(f"duration of a bin is {bin_s} s; use a positive duration")
    if not len(samples):
        empty = np.empty(0)
        return Timeline(empty, empty, empty, empty, empty, empty)
    start_ns = int(samples.published_ns.min())
    has_result = samples.result_ns > 0
    published_s = (samples.published_ns - start_ns) / _NS_PER_S
    result_s = (samples.result_ns[has_result] - start_ns) / _NS_PER_S
    end_s = max(float(published_s.max()), float(result_s.max(initial=0.0)))
    bins = int(end_s / bin_s) + 1
    in_bin = np.minimum((published_s / bin_s).astype(np.int64), bins - 1)
    result_bin = np.clip((result_s / bin_s).astype(np.int64), 0, bins - 1)
    offered = np.bincount(in_bin, minlength=bins)
    with_result = np.bincount(in_bin[has_result], minlength=bins)
    results = np.bincount(result_bin, minlength=bins)
    latency_ms = (result_s - published_s[has_result]) * 1e3
    return Timeline(
        (np.arange(bins, dtype=np.float64) + 0.5) * bin_s,
        offered / bin_s,
        results / bin_s,
        (offered - with_result) / bin_s,
        np.cumsum(with_result - results).astype(np.float64),
        _medians(in_bin[has_result], latency_ms, bins),
    )


def _theil_sen(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Return the median of the slopes between all pairs of points with different x; 0 without such a pair."""
    i, j = np.triu_indices(len(x), 1)
    differs = x[j] != x[i]
    slopes = (y[j] - y[i])[differs] / (x[j] - x[i])[differs]
    return float(np.median(slopes)) if len(slopes) else 0.0


def _medians(rows: NDArray[np.int64], values: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return the median of the values in each bin, (bins,) float64; NaN for an empty bin."""
    medians = np.full(bins, np.nan)
    order = np.argsort(rows, kind="stable")
    used, first = np.unique(rows[order], return_index=True)
    for row, part in zip(used, np.split(values[order], first[1:]), strict=False):
        medians[row] = np.median(part)
    return medians


def _rate_hz(times_ns: NDArray[np.int64]) -> float | None:
    if len(times_ns) < 2:
        return None
    span_ns = int(times_ns.max() - times_ns.min())
    return None if span_ns <= 0 else (len(times_ns) - 1) * _NS_PER_S / span_ns


def _rate_recovery_s(samples: FrameSamples, killed_ns: int, from_ns: int) -> float | None:
    rate_hz = offered_hz(samples, from_ns)
    if rate_hz is None:
        return None
    end_ns = int(samples.published_ns.max())
    results = np.sort(samples.result_ns[samples.result_ns > 0])
    after = results[results >= killed_ns]
    recovered = np.ones(len(after), np.bool_)
    for window_s in (_WINDOW_FRAMES / rate_hz, _RATE_WINDOW_S):
        # A backlog provides results after the last frame; without one, nothing arrives any more.
        is_full = _has_rate(results, after, np.full(len(after), round(window_s * _NS_PER_S)), rate_hz)
        until_end_ns = np.minimum(after + round(window_s * _NS_PER_S), end_ns) - after
        is_long = until_end_ns >= _WINDOW_FRAMES / rate_hz * _NS_PER_S * _MIN_RATE
        recovered &= is_full | (is_long & _has_rate(results, after, until_end_ns, rate_hz))
    return _seconds_after(killed_ns, after[recovered])


def _has_rate(
    results: NDArray[np.int64], starts: NDArray[np.int64], windows_ns: NDArray[np.int64], rate_hz: float
) -> NDArray[np.bool_]:
    """Return whether the windows from some times contain 90 % of the results that a rate requires."""
    found = np.searchsorted(results, starts + windows_ns) - np.searchsorted(results, starts)
    return found >= _MIN_RATE * rate_hz * windows_ns / _NS_PER_S


def _latency_recovery_s(samples: FrameSamples, killed_ns: int, from_ns: int) -> float | None:
    has_result = samples.result_ns > 0
    published_ns, result_ns = samples.published_ns[has_result], samples.result_ns[has_result]
    latency_ns = result_ns - published_ns
    before = latency_ns[(published_ns >= from_ns) & (result_ns < killed_ns)]
    after = published_ns >= killed_ns
    if not len(before) or np.count_nonzero(after) < _WINDOW_FRAMES:
        return None
    level_ns = max(float(np.quantile(before, 0.99)), 1.5 * float(np.median(before)))
    windows = np.lib.stride_tricks.sliding_window_view(latency_ns[after], _WINDOW_FRAMES)
    is_back = np.median(windows, axis=1) <= level_ns
    return _seconds_after(killed_ns, result_ns[after][: len(is_back)][is_back])


def _seconds_after(killed_ns: int, times_ns: NDArray[np.int64]) -> float | None:
    """Return the time from a kill to the first of some times; None if there is none."""
    return None if not len(times_ns) else int(times_ns.min() - killed_ns) / _NS_PER_S
