"""Frames are prepared in advance, published at their deadlines, and recorded as they were published."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from charon.adapters.simulator import LatePositionPublisher, Output, Plan, Prefetcher, acquire, noise_series


class Recorder(Output):
    """An output that records what it publishes."""

    def __init__(self):
        self.posted = []
        self.restarts = 0

    def post(self, item, unique_id, time_ns):
        """Record a frame."""
        self.posted.append((item, unique_id, time_ns, None))

    def post_faulty(self, item, unique_id, time_ns, fault):
        """Record a faulty frame."""
        self.posted.append((item, unique_id, time_ns, fault))

    def restart(self):
        """Record a restart and delay the acquisition."""
        self.restarts += 1
        time.sleep(0.05)


def published(plan, *, count=10, capacity=100, stop=None):
    output = Recorder()
    with Prefetcher(lambda i: i, count=count, total=plan.total, capacity=capacity) as frames:
        return acquire(frames, output, plan, stop or threading.Event()), output


def test_repeated_scan_continues_the_ids():
    (acquisition,), output = published(Plan(rate_hz=1e4, total=25))
    assert [item for item, *_ in output.posted] == [*range(10), *range(10), *range(5)]
    assert acquisition.ids.ranges() == [[1, 25]]
    assert (acquisition.first_time_ns, acquisition.last_time_ns) == (output.posted[0][2], output.posted[-1][2])


def test_frames_beyond_the_capacity_are_prepared_again():
    _, output = published(Plan(rate_hz=1e4, total=25), capacity=3)
    assert [item for item, *_ in output.posted] == [*range(10), *range(10), *range(5)]


def test_deadlines_do_not_drift():
    plan = Plan(rate_hz=200, total=100)
    (acquisition,), output = published(plan)
    stamps = np.array([time_ns for _, _, time_ns, _ in output.posted])
    offsets = (stamps - stamps[0]) / 1e9 - np.arange(100) / 200
    assert len(acquisition.ids) == 100
    # Single frames may be late on a busy machine, but later deadlines do not shift.
    assert np.median(np.abs(offsets)) < 0.02


def test_dropped_and_faulty_frames_are_recorded():
    plan = Plan(rate_hz=1e4, total=10, drop=frozenset({3, 4}), faults={6: "nan"})
    (acquisition,), output = published(plan)
    assert acquisition.ids.ranges() == [[1, 2], [5, 10]]
    assert acquisition.dropped.ranges() == [[3, 4]]
    assert acquisition.faults == {6: "nan"}
    assert [(unique_id, fault) for _, unique_id, _, fault in output.posted if fault] == [(6, "nan")]


def test_restart_resets_ids_and_continues_the_scan():
    (before, after), output = published(Plan(rate_hz=1e4, total=10, restart_at=7))
    assert output.restarts == 1
    assert (before.ids.ranges(), after.ids.ranges()) == ([[1, 6]], [[1, 4]])
    assert [item for item, *_ in output.posted] == list(range(10))
    assert after.first_time_ns > before.last_time_ns


def test_runtime_ends_the_acquisition():
    (acquisition,), _ = published(Plan(rate_hz=100, total=10**9, runtime_s=0.1))
    assert acquisition.ids.ranges() == [[1, 10]]


def test_stop_ends_the_wait_for_a_deadline():
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    (acquisition,), _ = published(Plan(rate_hz=0.1, total=5), stop=stop)
    assert acquisition.ids.ranges() == [[1, 1]]


def test_slow_frames_are_prepared_in_advance():
    def make(index):
        time.sleep(0.01)
        return index

    with Prefetcher(make, count=120, total=120, capacity=1000) as frames:
        frames.wait_until_safe(200.0, threading.Event())
        # Frames are prepared at about half the frame rate, so more than half of them must be ready, but not all.
        assert 50 <= frames.ready < 120


def test_wait_until_safe_times_out():
    with Prefetcher(lambda i: time.sleep(0.05) or i, count=1000, total=1000, capacity=1000) as frames:
        assert not frames.wait_until_safe(1e3, threading.Event(), 0.2)
        assert frames.ready < 100


def test_frames_prepared_too_slowly_are_late():
    plan = Plan(rate_hz=1000, total=20)
    with Prefetcher(lambda i: time.sleep(0.01) or i, count=20, total=20, capacity=20) as frames:
        (acquisition,) = acquire(frames, Recorder(), plan, threading.Event())
    assert acquisition.ids.ranges() == [[1, 20]]
    assert acquisition.late > 10


def test_wait_ends_when_capacity_is_reached():
    with Prefetcher(lambda i: time.sleep(0.002) or i, count=100, total=100, capacity=5) as frames:
        frames.wait_until_safe(1e6, threading.Event())
        assert frames.ready == 5
        frames.wait_for_all(threading.Event())
        assert [frames.get(i, threading.Event()) for i in range(100)] == list(range(100))


def test_failed_frame_raises_in_the_reader():
    def make(index):
        raise OSError(f"no frame {index}")

    with Prefetcher(make, count=3, total=3, capacity=3) as frames, pytest.raises(OSError, match="no frame 0"):
        frames.get(0, threading.Event())


def test_late_position_has_time_of_its_frame():
    posted = []
    late = LatePositionPublisher(lambda position, time_ns: posted.append((position, time_ns, time.monotonic())), 0.05)
    started = time.monotonic()
    for k in range(5):
        late.add((float(k), 0.0), k)
    late.close()
    assert [(position, time_ns) for position, time_ns, _ in posted] == [((float(k), 0.0), k) for k in range(5)]
    assert min(at for *_, at in posted) >= started + 0.05


def test_noise_has_the_requested_shape_and_type():
    series = noise_series((3, 5), np.dtype("f4"), np.zeros((7, 2)), seed=1)
    assert series.count == 7
    assert (series.image(3).shape, series.image(3).dtype) == ((3, 5), np.dtype("f4"))
    assert series.position(2) == (0.0, 0.0)
