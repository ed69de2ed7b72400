"""A detector's restart begins an epoch; nothing else does."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from charon.frames import FrameId
from charon.ledger.epochs import EpochTracker


def frame(unique_id, time_ns):
    return FrameId("ad:image", unique_id, time_ns)


def test_an_epoch_is_named_by_the_time_of_its_first_frame():
    tracker = EpochTracker()
    placed = [tracker.place(frame(n, 100 + n)) for n in (5, 6, 9)]
    assert [p.epoch_ns for p, again in placed if not again] == [105, 105, 105]
    assert tracker.restarts == 0


def test_a_lower_number_is_a_restart():
    tracker = EpochTracker()
    tracker.place(frame(5, 105))
    assert tracker.place(frame(1, 200)) == (FrameId("ad:image", 1, 200, 200), False)
    assert tracker.place(frame(2, 201)) == (FrameId("ad:image", 2, 201, 200), False)
    assert tracker.restarts == 1


def test_the_same_number_at_a_later_time_is_a_restart():
    tracker = EpochTracker()
    tracker.place(frame(1, 100))
    assert tracker.place(frame(1, 200)) == (FrameId("ad:image", 1, 200, 200), False)
    assert tracker.restarts == 1


def test_a_frame_that_was_overtaken_begins_no_epoch():
    tracker = EpochTracker()
    placed = [tracker.place(frame(n, 100 + n)) for n in (1, 2, 4, 3, 6, 7, 5, 8)]
    assert {p.epoch_ns for p, _ in placed} == {101}
    assert not any(again for _, again in placed)
    assert tracker.last == [8, 108, 101]
    assert tracker.restarts == 0
    # A clock that was put back is no frame that was overtaken.
    assert tracker.place(frame(1, 50))[0].epoch_ns == 50
    assert tracker.restarts == 1


def test_the_last_frame_again_is_known_with_its_epoch():
    tracker = EpochTracker()
    tracker.place(frame(5, 105))
    tracker.place(frame(6, 106))
    assert tracker.place(frame(6, 106)) == (FrameId("ad:image", 6, 106, 105), True)
    assert tracker.place(frame(7, 107)) == (FrameId("ad:image", 7, 107, 105), False)
    assert tracker.restarts == 0


def test_frames_without_a_time_are_told_apart_by_number_alone():
    tracker = EpochTracker()
    tracker.place(frame(1, 0))
    assert tracker.place(frame(1, 0)) == (FrameId("ad:image", 1, 0, 0), True)
    assert tracker.place(frame(2, 0)) == (FrameId("ad:image", 2, 0, 0), False)


runs = st.lists(st.integers(1, 8), min_size=1, max_size=4)


@given(runs, st.data())
def test_a_reader_that_starts_again_goes_on_as_if_it_had_not(lengths, data):
    """The one that took over, with its predecessor's last frame sent once more, says what one reader would say."""
    published = [frame(n, 1000 * k + n) for k, length in enumerate(lengths, 1) for n in range(1, length + 1)]
    steady = EpochTracker()
    expected = [steady.place(f)[0] for f in published]
    assert steady.restarts == len(lengths) - 1

    reader = EpochTracker()
    found = []
    for f in published:
        found.append(reader.place(f)[0])
        if data.draw(st.booleans()):
            last = json.loads(json.dumps(reader.last))
            reader = EpochTracker()
            reader.resume("ad:image", last)
            assert reader.place(f) == (found[-1], True)
    assert found == expected


def test_a_reader_that_saw_nothing_has_nothing_to_hand_down():
    assert EpochTracker().last is None
