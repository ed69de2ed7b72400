"""Results of cells from records with known times, and cells that cannot run."""

from __future__ import annotations

import numpy as np
import pytest

from charon.comparison.model import Cell, Condition
from charon.comparison.running import cell as cell_module
from charon.comparison.running import run_cell
from charon.comparison.running.detector import DetectorReport
from charon.comparison.running.measurement import DetectorTooSlowError, Kill, Measurement
from charon.comparison.running.result import result_of
from charon.comparison.running.sampler import Sampler
from charon.errors import UnavailableError
from charon.ledger.frame_log import PROCESSED, PUBLISHED, RECEIVED, RECORD

SECOND = 10**9
START = 1_700_000_000 * SECOND
PERIOD = SECOND // 100
FRAMES = 400
LATENCY = 4_000_000


def cell(part="load", **changes):
    values = {
        "part": part,
        "engine": "baseline",
        "rate_hz": 100.0,
        "shape": (512, 512),
        "model": "ptychonn2-sim",
        "duration_s": 3.0,
        "warm_up_s": 1.0,
    }
    return Cell(number=7, condition=Condition(**{**values, **changes}))


def log(outcome, delay_ns, ids):
    records = np.zeros(len(ids), RECORD)
    records["unique_id"] = ids
    records["time_ns"] = START + (np.asarray(ids) - 1) * PERIOD
    records["done_ns"] = records["time_ns"] + delay_ns
    records["outcome"] = outcome
    return records


def sampler():
    """Return a sampler whose series are set: 2 % and 30 % of a core, and 0.1 cores of other work."""
    result = Sampler(dict, 1)
    result.cores = 2
    result.processes = {"mirror": [type(result.own)()], "consumer.1": [type(result.own)()]}
    for k in range(10):
        time_ns = START + k * SECOND // 2
        result.processes["mirror"][0].add(time_ns, 0.01 * k, 100 << 20)
        result.processes["consumer.1"][0].add(time_ns, 0.15 * k, (200 + k) << 20)
        result.detector.add(time_ns, 0.05 * k, 1)
        result.own.add(time_ns, 0.01 * k, 1)
        result.machine.add(time_ns, (0.01 + 0.15 + 0.05 + 0.01 + 0.05) * k, 5)
    return result


def measurement(records, **changes):
    published = log(PUBLISHED, 0, range(1, FRAMES + 1))
    values = {"report": DetectorReport(FRAMES, 100.0), "sampler": sampler(), "notes": ["a note"], **changes}
    return Measurement(published, records, **values)


def test_figures_are_those_of_the_records():
    ids = [k for k in range(1, FRAMES + 1) if k not in {150, 151, 300}]
    received = log(RECEIVED, 1_000_000, [*ids, 300])
    result, samples = result_of(cell(), 2, START, measurement(np.concatenate([received, log(PROCESSED, LATENCY, ids)])))
    assert result.counts is not None
    counts = result.counts
    assert (counts.published, counts.processed, counts.missed, counts.lost) == (FRAMES, FRAMES - 3, 2, 1)
    assert (counts.missed_ids, counts.lost_ids) == ([[150, 151]], [[300, 300]])
    assert (result.cell.number, result.attempt, result.invalid, result.failure) == (7, 2, None, None)
    latency = result.latency_ms["result"]
    assert (latency.count, latency.p50, latency.max) == (FRAMES - 100 - 3, 4.0, 4.0)
    assert result.offered_hz == pytest.approx(100.0)
    assert result.notes == ["a note"]
    assert len(samples) == FRAMES


def test_resources_are_those_of_the_measured_window():
    result, _ = result_of(cell(), 1, START, measurement(log(PROCESSED, LATENCY, range(1, FRAMES + 1))))
    # From the end of the warm-up until the last result: 2.994 s.
    figures = {process.name: process for process in result.processes}
    assert figures["mirror"].cpu_s == pytest.approx(0.02 * 2.994, rel=1e-3)
    assert figures["consumer.1"].cpu_s == pytest.approx(0.3 * 2.994, rel=1e-3)
    assert figures["consumer.1"].rss_max_bytes == 207 << 20
    assert result.cpu_ms_per_frame == pytest.approx(0.32 * 2.994 * 1e3 / 300, rel=1e-3)
    assert result.rss_max_bytes == (100 + 207) << 20
    assert result.detector_cpu_s == pytest.approx(0.1 * 2.994, rel=1e-3)
    assert result.other_cpu == pytest.approx(0.1, rel=1e-3)
    assert result.recovery is None


def test_busy_machine_makes_the_result_invalid():
    busy = sampler()
    busy.machine.busy_s = [3 * value for value in busy.machine.busy_s]
    records = log(PROCESSED, LATENCY, range(1, FRAMES + 1))
    result, _ = result_of(cell(), 1, START, measurement(records, sampler=busy))
    assert result.invalid == "other work used 1.18 of 2 cores; end it and repeat the cell"
    assert result.counts is not None


def test_late_frames_are_counted_from_their_times():
    changed = measurement(log(PROCESSED, LATENCY, range(1, FRAMES + 1)))
    # The detector stops for 100 ms and catches up: ten frames are late, by 100 ms, 90 ms, ... 10 ms.
    pause = np.maximum(0, 10 - np.arange(FRAMES - 200)) * PERIOD
    for records in (changed.published, changed.records):
        records["time_ns"][200:] += pause
        records["done_ns"][200:] += pause
    result, _ = result_of(cell(), 1, START, changed)
    assert result.late_frames == 9
    assert result.invalid == "the detector published 9 of 400 frames late; end other work and repeat the cell"


def test_unknown_frames_make_the_result_invalid():
    records = log(PROCESSED, LATENCY, range(1, FRAMES + 2))
    result, _ = result_of(cell(), 1, START, measurement(records))
    assert result.invalid is not None
    assert "1 records of frames that the detector never published" in result.invalid


def test_recovery_has_process_and_times():
    kill = Kill("consumer.1", START + 2 * SECOND)
    records = log(PROCESSED, LATENCY, range(1, FRAMES + 1))
    result, _ = result_of(cell("recovery"), 1, START, measurement(records, kill=kill))
    assert result.recovery is not None
    assert (result.recovery.process, result.recovery.killed_ns) == ("consumer.1", START + 2 * SECOND)
    assert result.recovery.recovered_s is not None


def test_engine_without_results_has_no_latency():
    result, samples = result_of(cell(), 1, START, measurement(np.empty(0, RECORD)))
    assert result.counts is not None
    assert (result.counts.missed, result.latency_ms, result.cpu_ms_per_frame) == (FRAMES, {}, None)
    assert not result.kept_up
    assert len(samples) == FRAMES


@pytest.mark.parametrize(
    ("error", "failure", "invalid"),
    [
        (UnavailableError("the baseline exited with status 1:\nno port"), "status 1: no port", None),
        (OSError("no space left"), "no space left", None),
        (ZeroDivisionError("division by zero"), "unexpected ZeroDivisionError: division by zero", None),
        (DetectorTooSlowError("the detector was slow"), None, "the detector was slow"),
    ],
)
def test_error_becomes_one_line(monkeypatch, tmp_path, error, failure, invalid):
    def fail(_cell, _folder):
        raise error

    monkeypatch.setattr(cell_module, "measure", fail)
    result, samples = run_cell(cell(), tmp_path, attempt=3)
    assert samples is None
    assert (result.attempt, result.counts, result.is_usable) == (3, None, False)
    assert result.invalid == invalid
    assert (result.failure or "").endswith(failure or "")
    assert "\n" not in (result.failure or "")


def test_too_little_memory_is_a_failure(tmp_path):
    result, samples = run_cell(cell(), tmp_path / "cell", attempt=1, memory_bytes=1 << 20)
    assert samples is None
    assert "MiB of memory, and 1 MiB are available" in (result.failure or "")
    assert not (tmp_path / "cell").exists()
