"""The sets of names agree with Python's own, whatever the numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charon.frames import FrameId
from charon.vertices.seen_ids import SeenIds, SeenTimes

frames = st.builds(
    FrameId,
    st.sampled_from(["ad:image", "ad:other"]),
    st.integers(-5, 600) | st.integers(-(1 << 62), 1 << 62),
    st.integers(0, 5) | st.integers(-(1 << 62), 1 << 62),
    st.integers(0, 3),
)


@given(st.lists(frames, max_size=60))
def test_a_name_is_new_once_whatever_its_epoch(ids):
    names, expected = SeenIds(), set()
    for frame in ids:
        assert (frame in names) == (frame.name in expected)
        assert names.add(frame) == (frame.name not in expected)
        expected.add(frame.name)
        assert frame in names
    assert len(names) == len(expected)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-(1 << 62), 1 << 62) | st.integers(0, 20)), max_size=60))
def test_a_time_is_new_once_on_its_channel(times):
    known, expected = SeenTimes(), set()
    for time in times:
        assert known.has(*time) == (time in expected)
        assert known.add(*time) == (time not in expected)
        expected.add(time)
        assert known.has(*time)
