"""Synthetic samples and results of cells, for tests of the statistics."""

from __future__ import annotations

import numpy as np

from charon.comparison.samples import FrameSamples

START_NS = 1_700_000_000_000_000_000


def samples_of(published_s, latency_s, stitched_s=None):
    """Return samples from times and latencies in s; NaN is a frame without a result."""
    published_ns = START_NS + np.round(np.asarray(published_s) * 1e9).astype(np.int64)

    def reached(latency):
        latency = np.asarray(latency, float)
        return np.where(np.isnan(latency), 0, published_ns + np.round(np.nan_to_num(latency) * 1e9).astype(np.int64))

    result_ns = reached(latency_s)
    return FrameSamples(
        unique_id=np.arange(1, len(published_ns) + 1),
        published_ns=published_ns,
        received_ns=np.where(result_ns > 0, published_ns + 1000, 0),
        result_ns=result_ns,
        stitched_ns=np.zeros_like(published_ns) if stitched_s is None else reached(stitched_s),
        results=(result_ns > 0).astype(np.int64),
        rejected=np.zeros(len(published_ns), np.bool_),
    )
