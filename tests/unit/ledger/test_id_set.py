"""An IdSet behaves like a Python set of integers in every sequence of operations."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.ledger.id_set import IdSet

numbers = st.integers(-20, 60)
ranges = st.tuples(numbers, st.integers(0, 12)).map(lambda pair: (pair[0], pair[0] + pair[1]))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), numbers),
        st.tuples(st.just("range"), ranges),
        st.tuples(st.just("update"), st.sets(numbers, max_size=8)),
    ),
    max_size=25,
)


def apply(history):
    """Return an IdSet and a set after the same operations."""
    ids, model = IdSet(), set()
    for operation, value in history:
        if operation == "add":
            assert ids.add(value) == (value not in model)
            model.add(value)
        elif operation == "range":
            ids.add_range(*value)
            model.update(range(value[0], value[1] + 1))
        else:
            ids.update(IdSet(value))
            model |= value
    return ids, model


def assert_same(ids, model):
    assert list(ids) == sorted(model)
    assert len(ids) == len(model)
    assert [n in ids for n in range(-22, 75)] == [n in model for n in range(-22, 75)]
    # Ranges are sorted, disjoint and not adjacent, so that equal sets have equal ranges.
    pairs = ids.ranges()
    assert all(a <= b for a, b in pairs)
    assert all(before[1] + 1 < after[0] for before, after in itertools.pairwise(pairs))


@given(steps)
def test_operations_agree_with_set(history):
    assert_same(*apply(history))


@given(steps, steps)
def test_union_and_minus_agree_with_set(first, second):
    a, a_model = apply(first)
    b, b_model = apply(second)
    assert_same(a.union(b), a_model | b_model)
    assert_same(a.union(b, IdSet([70])), a_model | b_model | {70})
    assert_same(a.minus(b), a_model - b_model)
    assert_same(a, a_model)
    assert_same(b, b_model)


@given(steps)
def test_gaps_are_the_missing_numbers_between(history):
    ids, model = apply(history)
    between = set(range(min(model), max(model))) if model else set()
    assert_same(ids.gaps(), between - model)


@given(steps, st.randoms(use_true_random=False))
def test_from_ranges_accepts_any_order(history, random):
    ids, model = apply(history)
    shuffled = ids.ranges()
    random.shuffle(shuffled)
    assert IdSet.from_ranges(shuffled) == ids
    assert IdSet(model) == ids


@given(steps, numbers)
def test_copy_is_independent(history, number):
    ids, model = apply(history)
    copy = ids.copy()
    copy.add(number)
    assert_same(ids, model)
    assert_same(copy, model | {number})


def test_other_type_is_not_equal_or_contained():
    assert "3" not in IdSet([3])
    assert IdSet([3]) != {3}
    assert repr(IdSet([1, 2, 5])) == "IdSet([[1, 2], [5, 5]])"


@pytest.mark.parametrize("ranges", [[[2, 1]], [[1]], [[1, 2, 3]]])
def test_from_ranges_rejects_invalid_range(ranges):
    with pytest.raises(ValueError, match=r"before it begins|values to unpack"):
        IdSet.from_ranges(ranges)


def test_million_consecutive_frames_are_one_range():
    ids = IdSet()
    for number in range(100_000):
        ids.add(number)
    ids.add_range(100_000, 999_999)
    assert ids.ranges() == [[0, 999_999]]
    assert len(ids) == 1_000_000
