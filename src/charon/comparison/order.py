"""Order of cells within a comparison."""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")


def alternated(items: Sequence[T], repetition: int) -> Sequence[T]:
    """Return the items, in reverse order in odd repetitions: A B, B A, A B, ...

    A slow drift of the machine, such as its temperature, then affects both sides of a comparison equally.
    """
    return items if repetition % 2 == 0 else items[::-1]


def interleaved(items: Sequence[T], repetitions: int) -> Iterator[tuple[T, int]]:
    """Yield each item with each repetition: repetitions one after the other, the items alternated."""
    for repetition in range(repetitions):
        for item in alternated(items, repetition):
            yield item, repetition


def round_robin(lists: Sequence[Sequence[T]]) -> list[T]:
    """Return the items of all lists: the first of each, then the second of each, and so on."""
    rows = zip_longest(*([[item] for item in items] for items in lists), fillvalue=list[T]())
    return list(chain.from_iterable(chain.from_iterable(rows)))
