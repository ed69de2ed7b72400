"""The sets of frame ids and of times behave like Python sets."""

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
def test_id_is_new_once_in_any_epoch(ids):
    seen, expected = SeenIds(), set()
    for frame in ids:
        assert (frame in seen) == (frame.name in expected)
        assert seen.add(frame) == (frame.name not in expected)
        expected.add(frame.name)
        assert frame in seen
    assert len(seen) == len(expected)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(-(1 << 62), 1 << 62) | st.integers(0, 20)), max_size=60))
def test_time_is_new_once_per_channel(times):
    seen, expected = SeenTimes(), set()
    for time in times:
        assert seen.has(*time) == (time in expected)
        assert seen.add(*time) == (time not in expected)
        expected.add(time)
        assert seen.has(*time)
