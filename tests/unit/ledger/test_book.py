"""The ledger keeps names as sets: noting a frame twice is noting it once, and JSON loses nothing."""

from __future__ import annotations

import json
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.ledger.book import LedgerBook

notes = st.lists(
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


@given(notes)
def test_json_and_back_is_the_same_book(rows):
    book = book_of(rows)
    book.count("ad:image", 0, "duplicates", 4)
    document = json.loads(json.dumps(book.to_json()))
    assert LedgerBook.from_json(document).to_json() == book.to_json()


@given(notes, notes)
def test_merged_books_count_each_name_once(mine, theirs):
    book = book_of(mine)
    book.merge(book_of(theirs))
    named = set(mine) | set(theirs)
    expected = {state: sum(n[2] == state for n in named) for state in {n[2] for n in named}}
    assert book.totals() == expected


def test_a_note_says_whether_it_is_new():
    book = LedgerBook()
    assert book.add("ad:image", 5, "s", "seen", 1)
    assert not book.add("ad:image", 5, "s", "seen", 1)
    assert book.ids("ad:image", 5, "seen").ranges() == [[1, 1]]
    assert len(book.ids("ad:image", 6, "seen")) == 0


@pytest.mark.parametrize("document", [{}, {"epochs": [{}]}, {"epochs": 3}, {"epochs": [None]}])
def test_what_is_no_ledger_is_refused(document):
    with pytest.raises(ValueError, match="no ledger"):
        LedgerBook.from_json(document)


def test_a_page_can_be_made_while_another_thread_adds():
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
            book.to_json()
    finally:
        sys.setswitchinterval(interval)
        ended.set()
        adding.join()
