"""A ledger book counts each frame once per state, and its entries contain everything that was added."""

from __future__ import annotations

import sys
import threading

from hypothesis import given
from hypothesis import strategies as st

from charon.ledger.book import LedgerBook

additions = st.lists(
    st.tuples(
        st.sampled_from(["ad:image", "ad:other"]),
        st.integers(0, 3),
        st.sampled_from(["reconstructed", "rejected:shape", "seen"]),
        st.integers(0, 60),
    ),
    max_size=80,
)


def book_of(rows):
    book = LedgerBook()
    for channel, epoch_ns, state, unique_id in rows:
        book.add(channel, epoch_ns, f"scan-{epoch_ns}", state, unique_id)
    return book


@given(additions)
def test_entries_restore_the_same_book(rows):
    book = book_of(rows)
    book.count("ad:image", 0, "duplicates", 4)
    assert LedgerBook.from_entries(book.entries()).entries() == book.entries()


@given(additions, additions)
def test_entries_of_two_books_count_each_frame_once(first, second):
    book = LedgerBook.from_entries((*book_of(first).entries(), *book_of(second).entries()))
    frames = set(first) | set(second)
    assert book.totals() == {state: sum(n[2] == state for n in frames) for state in {n[2] for n in frames}}


def test_add_returns_whether_frame_is_new():
    book = LedgerBook()
    assert book.add("ad:image", 5, "s", "seen", 1)
    assert not book.add("ad:image", 5, "s", "seen", 1)
    assert book.ids("ad:image", 5, "seen").ranges() == [[1, 1]]
    assert len(book.ids("ad:image", 6, "seen")) == 0


def test_entries_do_not_change_with_the_book():
    book = book_of([("ad:image", 1, "seen", 1)])
    (entry,) = book.entries()
    book.add("ad:image", 1, "s", "seen", 2)
    assert entry.sets["seen"].ranges() == [[1, 1]]


def test_entries_can_be_read_while_another_thread_adds():
    book = LedgerBook()
    ended = threading.Event()

    def add():
        number = 0
        while not ended.is_set():
            number += 2
            book.add("ad:image", number // 40, "scan", f"rejected:{number % 14}", number)

    interval = sys.getswitchinterval()
    adding = threading.Thread(target=add)
    try:
        sys.setswitchinterval(1e-6)
        adding.start()
        for _ in range(80):
            book.entries()
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        adding.join()
