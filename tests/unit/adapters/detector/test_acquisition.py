"""Frames are made before they are needed, leave at their times, and are written down as they were published."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from charon.adapters.detector import Ahead, LatePositions, Plan, acquire, noise


class Recorder:
    """An output that remembers."""

    def __init__(self):
        self.posted = []
        self.restarts = 0

    def post(self, item, unique_id, time_ns):
        """Take a frame."""
        self.posted.append((item, unique_id, time_ns, None))

    def post_bad(self, item, unique_id, time_ns, kind):
        """Take a faulty one."""
        self.posted.append((item, unique_id, time_ns, kind))

    def restart(self):
        """Take a moment."""
        self.restarts += 1
        time.sleep(0.05)


def published(plan, *, count=10, capacity=100, stop=None):
    output = Recorder()
    with Ahead(lambda i: i, count=count, total=plan.total, capacity=capacity) as frames:
        return acquire(frames, output, plan, stop or threading.Event()), output


def test_a_scan_is_repeated_with_numbers_that_go_on():
    (done,), output = published(Plan(rate_hz=1e4, total=25))
    assert [item for item, *_ in output.posted] == [*range(10), *range(10), *range(5)]
    assert done.ids.ranges() == [[1, 25]]
    assert (done.first_time_ns, done.last_time_ns) == (output.posted[0][2], output.posted[-1][2])


def test_frames_that_do_not_fit_are_made_again():
    _, output = published(Plan(rate_hz=1e4, total=25), capacity=3)
    assert [item for item, *_ in output.posted] == [*range(10), *range(10), *range(5)]


def test_deadlines_do_not_drift():
    plan = Plan(rate_hz=200, total=100)
    (done,), output = published(plan)
    stamps = np.array([time_ns for _, _, time_ns, _ in output.posted])
    offsets = (stamps - stamps[0]) / 1e9 - np.arange(100) / 200
    assert len(done.ids) == 100
    # A frame may be late on a busy machine; the clock that paces them is not.
    assert np.median(np.abs(offsets)) < 0.02


def test_dropped_frames_are_holes_and_bad_ones_are_named():
    plan = Plan(rate_hz=1e4, total=10, drop=frozenset({3, 4}), bad={6: "nan"})
    (done,), output = published(plan)
    assert done.ids.ranges() == [[1, 2], [5, 10]]
    assert done.dropped.ranges() == [[3, 4]]
    assert done.bad == {6: "nan"}
    assert [(unique_id, kind) for _, unique_id, _, kind in output.posted if kind] == [(6, "nan")]


def test_restart_begins_unique_ids_again_and_goes_on_with_the_scan():
    (before, after), output = published(Plan(rate_hz=1e4, total=10, restart_at=7))
    assert output.restarts == 1
    assert (before.ids.ranges(), after.ids.ranges()) == ([[1, 6]], [[1, 4]])
    assert [item for item, *_ in output.posted] == list(range(10))
    assert after.first_time_ns > before.last_time_ns


def test_runtime_ends_it():
    (done,), _ = published(Plan(rate_hz=100, total=10**9, runtime_s=0.1))
    assert done.ids.ranges() == [[1, 10]]


def test_stop_ends_it_while_a_frame_is_awaited():
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    (done,), _ = published(Plan(rate_hz=0.1, total=5), stop=stop)
    assert done.ids.ranges() == [[1, 1]]


def test_slow_frames_are_made_ahead_until_they_cannot_be_overtaken():
    def make(index):
        time.sleep(0.01)
        return index

    with Ahead(make, count=120, total=120, capacity=1000) as frames:
        frames.wait_until_safe(200.0, threading.Event())
        # At about half the rate, a good half has to be there first; all of it need not.
        assert 50 <= frames.made < 120


def test_waiting_ends_after_its_time():
    with Ahead(lambda i: time.sleep(0.05) or i, count=1000, total=1000, capacity=1000) as frames:
        assert not frames.wait_until_safe(1e3, threading.Event(), 0.2)
        assert frames.made < 100


def test_frames_that_are_made_too_slowly_are_late_and_not_lost():
    plan = Plan(rate_hz=1000, total=20)
    with Ahead(lambda i: time.sleep(0.01) or i, count=20, total=20, capacity=20) as frames:
        (done,) = acquire(frames, Recorder(), plan, threading.Event())
    assert done.ids.ranges() == [[1, 20]]
    assert done.late > 10


def test_waiting_ends_where_the_cache_is_full():
    with Ahead(lambda i: time.sleep(0.002) or i, count=100, total=100, capacity=5) as frames:
        frames.wait_until_safe(1e6, threading.Event())
        assert frames.made == 5
        frames.wait_for_all(threading.Event())
        assert [frames.take(i, threading.Event()) for i in range(100)] == list(range(100))


def test_failure_to_make_a_frame_is_raised_where_it_is_taken():
    def make(index):
        raise OSError(f"no frame {index}")

    with Ahead(make, count=3, total=3, capacity=3) as frames, pytest.raises(OSError, match="no frame 0"):
        frames.take(0, threading.Event())


def test_late_positions_all_come_with_the_stamp_of_their_frame():
    came = []
    late = LatePositions(lambda position, time_ns: came.append((position, time_ns, time.monotonic())), 0.05)
    began = time.monotonic()
    for k in range(5):
        late.add((float(k), 0.0), k)
    late.close()
    assert [(position, time_ns) for position, time_ns, _ in came] == [((float(k), 0.0), k) for k in range(5)]
    assert min(at for *_, at in came) >= began + 0.05


def test_noise_has_the_shape_and_type_asked_for():
    series = noise((3, 5), np.dtype("f4"), np.zeros((7, 2)), seed=1)
    assert series.count == 7
    assert (series.image(3).shape, series.image(3).dtype) == ((3, 5), np.dtype("f4"))
    assert series.position(2) == (0.0, 0.0)
