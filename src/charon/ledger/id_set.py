"""A set of integers stored as ranges, so that a run of a million frames needs a few numbers."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A set with at least this many times fewer ranges is inserted range by range instead of merged.
_INSERT_RATIO = 16


class IdSet:
    """A set of integers stored as sorted, disjoint, closed ranges.

    Detectors number their frames consecutively, so the set of frames that a vertex has seen is usually a single
    range, with a gap at each missing frame.
    """

    __slots__ = ("_count", "_first", "_last")

    def __init__(self, ids: Iterable[int] = ()) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        self._count = 0
        for i in ids:
            self.add(i)

    @classmethod
    def from_ranges(cls, ranges: Iterable[Iterable[int]]) -> IdSet:
        """Return the set of all numbers in closed ranges ``[[first, last], ...]``, given in any order.

        Raises
        ------
        ValueError
            If a range is not a pair or ends before it begins.
        """
        pairs = [(first, last) for first, last in ranges]
        for first, last in pairs:
            if last < first:
                raise ValueError(f"invalid range {first}..{last}: ends before it begins")
        result = cls()
        result._merge(pairs)
        return result

    def copy(self) -> IdSet:
        """Return an independent set with the same numbers."""
        result = IdSet()
        result._first, result._last, result._count = self._first.copy(), self._last.copy(), self._count
        return result

    @property
    def range_count(self) -> int:
        """Number of ranges, which determines the size of the set."""
        return len(self._first)

    def ranges(self) -> list[list[int]]:
        """Return the closed ranges, sorted, as ``[[first, last], ...]``."""
        return [[a, b] for a, b in zip(self._first, self._last, strict=True)]

    def add(self, number: int) -> bool:
        """Add one number; return whether it was new."""
        last = self._last
        # Fast path: numbers usually arrive in order.
        if last and number == last[-1] + 1:
            last[-1] = number
            self._count += 1
            return True
        if number in self:
            return False
        self.add_range(number, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Add every number of a closed range."""
        if not self._last or first > self._last[-1] + 1:
            self._first.append(first)
            self._last.append(last)
            self._count += last - first + 1
            return
        low = bisect_left(self._last, first - 1)
        high = bisect_right(self._first, last + 1)
        if low < high:
            first = min(first, self._first[low])
            last = max(last, self._last[high - 1])
            self._count -= sum(self._last[k] - self._first[k] + 1 for k in range(low, high))
        self._first[low:high] = [first]
        self._last[low:high] = [last]
        self._count += last - first + 1

    def update(self, other: IdSet) -> None:
        """Add every number of another set."""
        if len(other._first) * _INSERT_RATIO < len(self._first):
            for first, last in zip(other._first, other._last, strict=True):
                self.add_range(first, last)
        else:
            self._merge(zip(other._first, other._last, strict=True))

    def union(self, *others: IdSet) -> IdSet:
        """Return the numbers that are in this set or in any of the others."""
        result = self.copy()
        for other in others:
            result.update(other)
        return result

    def minus(self, other: IdSet) -> IdSet:
        """Return the numbers of this set that are not in the other one."""
        result = IdSet()
        removed = other.ranges()
        k = 0
        for start, last in self.ranges():
            first = start
            while k < len(removed) and removed[k][1] < first:
                k += 1
            j = k
            while j < len(removed) and removed[j][0] <= last:
                if removed[j][0] > first:
                    result.add_range(first, removed[j][0] - 1)
                first = removed[j][1] + 1
                j += 1
            if first <= last:
                result.add_range(first, last)
        return result

    def gaps(self) -> IdSet:
        """Return the numbers between the smallest and the largest that are not in the set."""
        result = IdSet()
        for before, after in zip(self._last, self._first[1:], strict=False):
            result.add_range(before + 1, after - 1)
        return result

    def _merge(self, ranges: Iterable[tuple[int, int]]) -> None:
        # Linear for sorted ranges, while inserting each of them into the lists would be quadratic.
        merged_first: list[int] = []
        merged_last: list[int] = []
        for first, last in sorted([*zip(self._first, self._last, strict=True), *ranges]):
            if not merged_last or first > merged_last[-1] + 1:
                merged_first.append(first)
                merged_last.append(last)
            elif last > merged_last[-1]:
                merged_last[-1] = last
        self._first, self._last = merged_first, merged_last
        self._count = sum(merged_last) - sum(merged_first) + len(merged_first)

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        k = bisect_left(self._last, number)
        return k < len(self._first) and self._first[k] <= number

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        for first, last in zip(self._first, self._last, strict=True):
            yield from range(first, last + 1)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdSet) and self.ranges() == other.ranges()

    __hash__ = None  # pyright: ignore[reportAssignmentType] - as Python documents for mutable values

    def __repr__(self) -> str:
        return f"IdSet({self.ranges()})"
