"""Interleaved order of the cells."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charon.comparison.order import interleaved, round_robin

DISTINCT = st.lists(st.integers(), unique=True, max_size=5)


def test_two_items_alternate_as_a_b_b_a():
    assert list(interleaved("AB", 3)) == [("A", 0), ("B", 0), ("B", 1), ("A", 1), ("A", 2), ("B", 2)]


@given(DISTINCT, st.integers(0, 6))
def test_each_item_has_each_repetition_once(items, repetitions):
    order = list(interleaved(items, repetitions))
    assert sorted(order) == sorted((item, k) for item in items for k in range(repetitions))
    assert [k for _, k in order] == sorted(k for _, k in order)


@given(DISTINCT.filter(bool), st.integers(1, 8))
def test_positions_are_balanced(items, repetitions):
    positions = dict.fromkeys(items, 0)
    for position, (item, _) in enumerate(interleaved(items, 2 * repetitions)):
        positions[item] += position
    assert len(set(positions.values())) == 1


def test_lists_of_different_length_alternate():
    assert round_robin([["a1", "a2", "a3"], [], ["b1"]]) == ["a1", "b1", "a2", "a3"]
