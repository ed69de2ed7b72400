"""Only a restart of the detector begins an epoch."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charon.frames import FrameId
from charon.ledger.epochs import EpochTracker


def frame(unique_id, time_ns):
    return FrameId("ad:image", unique_id, time_ns)


def test_epoch_is_named_after_its_first_frame():
    tracker = EpochTracker()
    assigned = [tracker.assign(frame(n, 100 + n)) for n in (5, 6, 9)]
    assert [f.epoch_ns for f, repeated in assigned if not repeated] == [105, 105, 105]
    assert tracker.restarts == 0


def test_lower_number_is_a_restart():
    tracker = EpochTracker()
    tracker.assign(frame(5, 105))
    assert tracker.assign(frame(1, 200)) == (FrameId("ad:image", 1, 200, 200), False)
    assert tracker.assign(frame(2, 201)) == (FrameId("ad:image", 2, 201, 200), False)
    assert tracker.restarts == 1


def test_same_number_at_a_later_time_is_a_restart():
    tracker = EpochTracker()
    tracker.assign(frame(1, 100))
    assert tracker.assign(frame(1, 200)) == (FrameId("ad:image", 1, 200, 200), False)
    assert tracker.restarts == 1


def test_out_of_order_frame_stays_in_its_epoch():
    tracker = EpochTracker()
    assigned = [tracker.assign(frame(n, 100 + n)) for n in (1, 2, 4, 3, 6, 7, 5, 8)]
    assert {f.epoch_ns for f, _ in assigned} == {101}
    assert not any(repeated for _, repeated in assigned)
    assert tracker.last == FrameId("ad:image", 8, 108, 101)
    assert tracker.restarts == 0
    # A clock that was set back is a restart, not a frame out of order.
    assert tracker.assign(frame(1, 50))[0].epoch_ns == 50
    assert tracker.restarts == 1


def test_repeated_last_frame_is_recognised():
    tracker = EpochTracker()
    tracker.assign(frame(5, 105))
    tracker.assign(frame(6, 106))
    assert tracker.assign(frame(6, 106)) == (FrameId("ad:image", 6, 106, 105), True)
    assert tracker.assign(frame(7, 107)) == (FrameId("ad:image", 7, 107, 105), False)
    assert tracker.restarts == 0


def test_frames_without_time_differ_by_number_alone():
    tracker = EpochTracker()
    tracker.assign(frame(1, 0))
    assert tracker.assign(frame(1, 0)) == (FrameId("ad:image", 1, 0, 0), True)
    assert tracker.assign(frame(2, 0)) == (FrameId("ad:image", 2, 0, 0), False)


runs = st.lists(st.integers(1, 8), min_size=1, max_size=4)


@given(runs, st.data())
def test_restarted_reader_assigns_the_same_epochs(lengths, data):
    """A reader that restarts and receives the last frame again assigns the epochs of one that never restarts."""
    published = [frame(n, 1000 * k + n) for k, length in enumerate(lengths, 1) for n in range(1, length + 1)]
    steady = EpochTracker()
    expected = [steady.assign(f)[0] for f in published]
    assert steady.restarts == len(lengths) - 1

    reader = EpochTracker()
    assigned = []
    for f in published:
        assigned.append(reader.assign(f)[0])
        if data.draw(st.booleans()):
            last = reader.last
            assert last is not None
            reader = EpochTracker()
            reader.resume(last)
            assert reader.assign(f) == (assigned[-1], True)
    assert assigned == expected


def test_new_reader_has_no_last_frame():
    assert EpochTracker().last is None
