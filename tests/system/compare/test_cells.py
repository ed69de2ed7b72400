"""Cells of a comparison with real engines: the account, the latency and the resources agree with other sources.

A busy machine may make a result invalid; the figures are checked nevertheless.
"""

from __future__ import annotations

import _thread
import threading
import time

import numpy as np
import pytest

from charon.comparison.running import run_cell
from charon.ledger.id_set import IdSet

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def check_account(bench, result, samples):
    """Check that every frame in the detector's report is counted once."""
    report = bench.report()
    counts = result.counts
    assert counts.published == report["published"] == result.cell.condition.frames
    assert counts.published == counts.processed + counts.rejected + counts.missed + counts.lost
    assert counts.unknown == 0
    published = IdSet.from_ranges(report["acquisitions"][0]["ids"])
    assert IdSet(samples.unique_id.tolist()) == published
    without = IdSet.from_ranges([*counts.missed_ids, *counts.lost_ids])
    assert IdSet(samples.unique_id[samples.result_ns == 0].tolist()) == without


def check_resources(result, names):
    """Check that each process of the engine has used CPU time and memory."""
    figures = {process.name: process for process in result.processes}
    assert set(figures) == names
    # The supervisor may use less than the 10 ms that the kernel counts.
    assert all(figure.cpu_s > 0 for name, figure in figures.items() if name != "charonctl")
    assert all(figure.rss_mean_bytes > 10 << 20 for figure in figures.values())
    assert result.cpu_ms_per_frame > 0
    assert result.detector_cpu_s > 0


def check_latency(summary, figures, latency_ns):
    """Check that the figures agree with the engine's own, which it rounds to the next observed value and by 1 %."""
    latency_ms = latency_ns[latency_ns > 0] / 1e6
    assert len(latency_ms) == figures.count == summary["latency_ms"]["count" if "batch" in summary else "frames"]
    assert figures.max == pytest.approx(summary["latency_ms"]["max"], abs=0.01)
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        observed = float(np.quantile(latency_ms, q, method="inverted_cdf"))
        assert summary["latency_ms"][name] == pytest.approx(observed, rel=0.01)
        below, above = np.quantile(latency_ms, q, method="lower"), np.quantile(latency_ms, q, method="higher")
        assert below <= getattr(figures, name) <= above


def is_line(text, part):
    """Return whether a text is one line with a part."""
    return text is not None and part in text and "\n" not in text


def test_baseline_cell_agrees_with_its_summary(bench):
    result, samples = bench.run("baseline")
    check_account(bench, result, samples)
    check_resources(result, {"charonctl", "mirror", "consumer.1"})
    summary, latency = bench.summary(), result.latency_ms["result"]
    assert (summary["batch"], summary["threads"]) == (4, 1)
    assert summary["processed"] == latency.count == result.counts.processed
    check_latency(summary, latency, samples.result_ns - samples.published_ns)


def test_pipeline_cell_agrees_with_its_summary(bench):
    result, samples = bench.run("embedded", stitch=True)
    check_account(bench, result, samples)
    check_resources(result, {"charonctl", "nats-server", "in.0", "cat.0", "image.0"})
    assert result.counts.processed == 80
    summary, latency = bench.summary(), result.latency_ms["stitched"]
    assert summary["reconstructed"] == latency.count == 80
    check_latency(summary, latency, samples.stitched_ns - samples.published_ns)
    assert 0 < result.latency_ms["result"].p50 < 60_000


def test_pipeline_recovers_from_a_killed_worker(bench):
    result, samples = bench.run("embedded", part="recovery", duration_s=3.0)
    check_account(bench, result, samples)
    assert result.counts.processed == 120
    assert result.recovery.process == "cat.0"
    elapsed_ns = result.recovery.killed_ns - samples.published_ns[0]
    assert elapsed_ns > 1.5e9
    assert "cat.0 was restarted once" in result.notes
    check_resources(result, {"charonctl", "nats-server", "in.0", "cat.0", "out.0"})


def test_impossible_rate_is_invalid(bench):
    # 30,000 frames in at most 2.6 s: 6 GB/s, which no detector can publish.
    cell = bench.cell("baseline", rate_hz=50_000.0, duration_s=0.6)
    result, samples = run_cell(cell, bench.folder, attempt=1)
    assert (samples, result.failure) == (None, None)
    assert is_line(result.invalid, "frames/s instead of 50000; lower the rate")


def test_missing_model_is_a_failure(bench):
    result, samples = run_cell(bench.cell("embedded", model="nonesuch"), bench.folder, attempt=1)
    assert samples is None
    assert is_line(result.failure, "model bundle 'nonesuch' not found; use a folder or one of ")


def test_interrupt_ends_every_process(bench):
    published = bench.folder / "detector.bin"

    def interrupt():
        end = time.monotonic() + 100
        while time.monotonic() < end and not (published.exists() and published.stat().st_size):
            time.sleep(0.05)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        run_cell(bench.cell("embedded", duration_s=60.0), bench.folder, attempt=1)
    thread.join()
