"""Record latencies in constant memory and compute their quantiles and histogram."""

from __future__ import annotations

import math
from bisect import bisect_left
from itertools import accumulate

import numpy as np

from charon.ledger.latency import Latency, LatencyHistogram, LatencySummary

_MIN_NS = 1_000
_LOG_STEP = math.log(1.01)
BOUNDS_MS = (
    *(m * 10**k for k in range(4) for m in (1, 1.5, 2, 3, 5, 7)),
    *(10_000, 30_000, 60_000, 300_000),
)
"""Upper bounds in ms of the published buckets: equal for all replicas, so that counts can be added."""
_BOUNDS_NS = [round(bound * 1_000_000) for bound in BOUNDS_MS]


class LatencyRecorder:
    """Distribution of durations, in bins of 1 % from 1 µs to a maximum.

    A duration that is negative or above the maximum means that the two clocks disagree. It is counted in
    `clock_disagrees` and in no other figure.

    Parameters
    ----------
    max_valid_ns
        Longest valid duration in ns.
    """

    def __init__(self, max_valid_ns: int = 3_600_000_000_000) -> None:
        self.max_valid_ns = max_valid_ns
        self.count = 0
        self.clock_disagrees = 0
        self.max_ns = 0
        self._sum_ns = 0
        self._buckets = [0] * (len(BOUNDS_MS) + 1)
        self._bins = np.zeros(1 + math.ceil(math.log(max_valid_ns / _MIN_NS) / _LOG_STEP), np.int64)

    def add(self, duration_ns: int) -> None:
        """Count one duration in ns."""
        if not 0 <= duration_ns <= self.max_valid_ns:
            self.clock_disagrees += 1
            return
        k = round(math.log(duration_ns / _MIN_NS) / _LOG_STEP) if duration_ns > _MIN_NS else 0
        self._bins[min(k, len(self._bins) - 1)] += 1
        self._buckets[bisect_left(_BOUNDS_NS, duration_ns)] += 1
        self.count += 1
        self._sum_ns += duration_ns
        self.max_ns = max(self.max_ns, duration_ns)

    def quantile_ns(self, q: float) -> int | None:
        """Return the quantile `q` of the durations in ns, within 0.5 %; None if there are no durations."""
        if not self.count:
            return None
        k = int(np.searchsorted(np.cumsum(self._bins), max(1, math.ceil(q * self.count))))
        return min(round(_MIN_NS * math.exp(k * _LOG_STEP)), self.max_ns)

    def histogram(self) -> LatencyHistogram:
        """Return the number of durations up to each of `BOUNDS_MS`, their total number, and their sum in s."""
        return LatencyHistogram(
            bounds_ms=BOUNDS_MS,
            cumulative=tuple(accumulate(self._buckets[:-1])),
            count=self.count,
            sum_s=self._sum_ns / 1e9,
            clock_disagrees=self.clock_disagrees,
        )

    def summary(self) -> LatencySummary:
        """Return number, quantiles, maximum and mean of the durations, in ms."""
        return LatencySummary(
            count=self.count,
            clock_disagrees=self.clock_disagrees,
            p50=_ms(self.quantile_ns(0.50)),
            p99=_ms(self.quantile_ns(0.99)),
            max=_ms(self.max_ns if self.count else None),
            mean=_ms(self._sum_ns // self.count if self.count else None),
        )

    def latency(self) -> Latency:
        """Return the summary and the histogram."""
        return Latency(self.summary(), self.histogram())


def _ms(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else round(duration_ns / 1e6, 3)
