"""The run of a cell, with an engine and a detector that the test controls."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from charon.comparison.engines import Driver
from charon.comparison.model import Cell, Condition
from charon.comparison.running import cell as cells
from charon.comparison.running import measurement
from charon.comparison.running.detector import Detector, DetectorReport
from charon.comparison.running.measurement import DetectorTooSlowError, Run, sampling
from charon.errors import Reason, UnavailableError
from charon.ledger.frame_log import PROCESSED, PUBLISHED, RECEIVED, RECORD, STITCHED, UNSTITCHED, rejected

FRAMES = 20
WAIT = [sys.executable, "-c", "import time; time.sleep(120)"]


def condition(**changes):
    values = {
        "part": "load",
        "engine": "embedded",
        "rate_hz": 40.0,
        "shape": (512, 512),
        "model": "ptychonn2-sim",
        "duration_s": 0.4,
        "warm_up_s": 0.1,
    }
    return Condition(**{**values, **changes})


def records(outcome, count=FRAMES):
    result = np.zeros(count, RECORD)
    result["unique_id"] = np.arange(1, count + 1)
    result["time_ns"] = result["done_ns"] = time.time_ns() + np.arange(count) * 25_000_000
    result["outcome"] = outcome
    return result


class FakeDetector(Detector):
    """Has published its frames before the start; the last ones may be missing."""

    def __init__(self, pid, count=FRAMES):
        self._pid = pid
        self.frames = FRAMES
        self.log = records(PUBLISHED, count)

    @property
    def pid(self):
        """Return the id of a process of the test."""
        return self._pid

    def start(self):
        """Report that the priority could not be set."""
        return False

    def failure(self):
        """Return why it has ended: it runs."""

    def published(self):
        """Return its frames."""
        return self.log

    def end(self):
        """Return its report."""
        return DetectorReport(len(self.log), 40.0)


class FakeDriver(Driver):
    """An engine whose only process is a real child of the test."""

    worker = "cat.0"
    client_delay_s = 0.0

    def __init__(self, pid, done, fault=None):
        self._pid = pid
        self._done = done
        self._fault = fault

    def start(self):
        """Do nothing: it runs."""

    def failure(self):
        """Return the fault that the test sets."""
        return self._fault

    def processes(self):
        """Return the child."""
        return {"cat.0": self._pid}

    def records(self):
        """Return the records that the test sets."""
        return self._done

    def drain(self, timeout_s):
        """Return a note."""
        return ["cat.0 was restarted once"]

    def kill(self):
        """Do nothing: the test ends the child."""


@pytest.fixture
def worker():
    with subprocess.Popen(WAIT) as process:
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def _short_timeouts(monkeypatch):
    monkeypatch.setattr(measurement, "_IDLE_TIMEOUT_S", 0.3)
    monkeypatch.setattr(measurement, "_IDLE_TIMEOUT_AFTER_KILL_S", 0.3)
    monkeypatch.setattr(measurement, "_SCHEDULE_TOLERANCE_S", 0.1)


def a_run(load, driver, detector):
    return Run(load, driver, detector, lambda: sampling(driver, detector))


def run(worker, done, *, published=FRAMES, **changes):
    detector = FakeDetector(worker.pid, published)
    return a_run(condition(**changes), FakeDriver(worker.pid, done), detector).run()


def test_records_and_notes_are_returned(worker):
    done = records(PROCESSED)
    result = run(worker, done)
    assert (len(result.published), len(result.records)) == (FRAMES, FRAMES)
    assert "cat.0 was restarted once" in result.notes
    assert any("no higher priority" in note for note in result.notes)
    assert (result.kill, worker.poll()) == (None, None)
    assert set(result.sampler.processes) == {"cat.0"}


def test_missing_frames_end_the_wait(worker):
    started_s = time.monotonic()
    result = run(worker, records(PROCESSED, FRAMES - 1))
    assert time.monotonic() - started_s < 60
    assert len(result.records) == FRAMES - 1


def test_recovery_kills_the_worker(worker, monkeypatch):
    pending = [FRAMES // 2]

    def published(detector):
        # The last frames are published when the worker has been killed.
        if worker.poll() is not None:
            pending[0] = FRAMES
        return detector.log[: pending[0]]

    monkeypatch.setattr(FakeDetector, "published", published)
    monkeypatch.setattr(measurement, "_SCHEDULE_TOLERANCE_S", 60.0)
    before_ns = time.time_ns()
    result = run(worker, records(PROCESSED), part="recovery")
    assert worker.poll() == -9
    assert result.kill is not None
    assert result.kill.process == "cat.0"
    assert before_ns < result.kill.time_ns < time.time_ns()


def test_slow_detector_ends_the_cell(worker):
    with pytest.raises(DetectorTooSlowError, match=r"published 40\.0 frames/s instead of 80; lower the rate"):
        run(worker, records(PROCESSED), published=FRAMES - 1, rate_hz=80.0)


def test_detector_with_a_valid_rate_is_not_too_slow():
    # 98.5 % of the planned rate is valid, and needs 9 s more.
    assert measurement.publishing_s(condition(duration_s=600.0, warm_up_s=0.0)) > 600 / 0.985


def test_failed_engine_ends_the_cell(worker):
    driver = FakeDriver(worker.pid, records(PROCESSED), "the pipeline exited with status 1: no space left")
    detector = FakeDetector(worker.pid, 0)
    with pytest.raises(UnavailableError, match="the pipeline exited with status 1: no space left"):
        a_run(condition(), driver, detector).run()


def test_no_frame_within_timeout_is_an_error(worker, monkeypatch):
    monkeypatch.setattr(measurement, "_START_TIMEOUT_S", 0.2)
    with pytest.raises(UnavailableError, match="no frame was published within 0 s"):
        run(worker, records(PROCESSED), published=0)


@pytest.fixture
def replaced(worker, monkeypatch):
    """Replace engine and detector; return what was called and the folders that they were given."""
    calls, folders = [], []

    class InterruptedDriver(FakeDriver):
        def kill(self):
            """Be interrupted, as by a second Ctrl-C."""
            calls.append("driver")
            raise KeyboardInterrupt

    class RecordingDetector(FakeDetector):
        def __init__(self, _condition, _seed, folder, _environment, *, client_delay_s):
            super().__init__(worker.pid)
            folders.append(folder)
            assert client_delay_s == 0

        def kill(self):
            """Record the call."""
            calls.append("detector")

    def make_driver(_condition, folder, _environment):
        folders.append(folder)
        return InterruptedDriver(worker.pid, records(PROCESSED))

    monkeypatch.setattr(measurement, "make_driver", make_driver)
    monkeypatch.setattr(measurement, "Detector", RecordingDetector)
    return calls, folders


def test_second_interrupt_leaves_no_detector(replaced, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        measurement.measure(Cell(number=1, condition=condition()), Path("-results"))
    calls, folders = replaced
    assert calls == ["driver", "detector"]
    # A relative path that begins with a dash would be an option of the programs.
    assert folders == [tmp_path / "-results"] * 2


def test_error_in_the_checks_costs_only_the_cell(tmp_path, monkeypatch):
    def fail(_condition, _memory_bytes):
        raise PermissionError(13, "Permission denied", "model/card.json")

    monkeypatch.setattr(cells, "obstacle", fail)
    result, samples = cells.run_cell(Cell(number=1, condition=condition()), tmp_path, attempt=1)
    assert samples is None
    assert result.failure == "[Errno 13] Permission denied: 'model/card.json'"


@pytest.mark.parametrize(
    ("outcome", "stitch", "finished"),
    [
        (RECEIVED, False, 0),
        (PROCESSED, False, FRAMES),
        (PROCESSED, True, 0),
        (STITCHED, True, FRAMES),
        (UNSTITCHED, True, FRAMES),
        (rejected(Reason.SHAPE), True, FRAMES),
    ],
)
def test_finished_frames_are_counted_once(worker, outcome, stitch, finished):
    done = records(outcome)
    engine = FakeDriver(worker.pid, done)
    course = a_run(condition(stitch=stitch), engine, FakeDetector(worker.pid))
    assert course._finished(np.concatenate([done, done])) == finished
