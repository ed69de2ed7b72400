"""Every published frame is in exactly one place, whatever dies.

That is: published = missed + reconstructed + rejected + in flight + lost.

The histories here are drawn at random: a detector that restarts, one or two readers that come and go, frames
that are bad or missed, sinks that have got so far; and then pages of the ledger that are old or lost.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from hypothesis import assume, given
from hypothesis import strategies as st

from charon.frames import FrameId
from charon.ledger.account import settle
from charon.ledger.book import LedgerBook
from charon.ledger.epochs import EpochTracker

CHANNEL = "ad:image"


@dataclass
class Reader:
    """A replica of the source: what it wrote, and when the buffer had what it sent."""

    tracker: EpochTracker = field(default_factory=EpochTracker)
    book: LedgerBook = field(default_factory=LedgerBook)
    saved: dict | None = None

    def page(self):
        """Return its page of the ledger as it would be written now."""
        return {"kind": "source", "vertex": "in", "ledger": json.loads(json.dumps(self.book.to_json()))}


@dataclass
class History:
    """What really became of the frames, as sets of their names."""

    readers: list[Reader]
    sinks: dict[str, LedgerBook]
    known: set = field(default_factory=set)
    seen: set = field(default_factory=set)
    accepted: set = field(default_factory=set)
    at_sinks: dict[str, set] = field(default_factory=dict)
    rejected: dict[str, set] = field(default_factory=dict)
    carried: dict = field(default_factory=dict)

    def pages(self, sources=None):
        """Yield the ledger's pages, with other ones for the readers where they are given."""
        yield from [reader.page() for reader in self.readers] if sources is None else sources
        for vertex, book in self.sinks.items():
            yield {"kind": "sink", "vertex": vertex, "ledger": json.loads(json.dumps(book.to_json()))}

    @property
    def reconstructed(self):
        """What every sink has."""
        return set.intersection(*self.at_sinks.values())

    @property
    def ended(self):
        """What is a result or a rejection."""
        return self.reconstructed.union(*self.rejected.values())

    @property
    def published(self):
        """What was seen by number, and what lies between within one run of the detector."""
        found = set()
        for run in {run for run, _ in self.known}:
            numbers = [n for r, n in self.known if r == run]
            found |= {(run, n) for n in range(min(numbers), max(numbers) + 1)}
        return found


FATES = ["missed", "waiting", "rejected:shape", "open", "rejected:not-finite", "done", "done", "done"]


@st.composite
def histories(draw):
    """Play a run. The first reader stays from when it joins, in the first run; the second one comes and goes."""
    runs = draw(st.lists(st.integers(1, 10), min_size=1, max_size=3))
    published = [(run, n) for run, length in enumerate(runs) for n in range(1, length + 1)]
    readers = [Reader() for _ in range(draw(st.integers(1, 2)))]
    vertices = ["image", "out"][: draw(st.integers(1, 2))]
    history = History(readers, {v: LedgerBook() for v in vertices}, at_sinks={v: set() for v in vertices})
    joined = draw(st.integers(0, runs[0] - 1))
    presence = [set(range(joined, len(published)))]
    if len(readers) == 2:
        begin, end = sorted((draw(st.integers(0, len(published))), draw(st.integers(0, len(published)))))
        away = draw(st.sets(st.integers(0, len(published)), max_size=4))
        presence.append(set(range(begin, end)) - away)
    saves = draw(st.lists(st.integers(0, len(published)), min_size=len(readers), max_size=len(readers)))
    # Which run a frame belongs to can be known only where somebody saw the run begin.
    dropped = draw(st.sets(st.integers(joined + 1, len(published)), max_size=4))
    dropped -= {place for place, (_, n) in enumerate(published) if n == 1}
    last_run = {}
    for place, frame in enumerate(published):
        fate = draw(st.sampled_from(FATES))
        for k, reader in enumerate(readers):
            if place == saves[k]:
                reader.saved = reader.page()
            if place not in presence[k] or (k == 0 and place in dropped):
                continue
            placed, _ = reader.tracker.place(FrameId(CHANNEL, frame[1], 1000 + place))
            # A reader that was away while the detector restarted and came back at a higher number cannot know.
            assume(last_run.setdefault((k, placed.epoch_ns), frame[0]) == frame[0])
            its_fate = draw(st.sampled_from(["missed", fate])) if len(readers) == 2 else fate
            _read(history, reader, placed, frame, its_fate)
        if frame in history.accepted:
            _go_on(draw, history, frame, fate)
    for k, reader in enumerate(readers):
        if saves[k] == len(published):
            reader.saved = reader.page()
    assume(history.known)
    return history


def _read(history, reader, placed, frame, fate):
    """Let a reader take a frame, and the buffer what it sends."""
    history.known.add(frame)
    where = (placed.channel, placed.epoch_ns, "s")
    if fate == "missed":
        reader.book.add(*where, "missed", placed.unique_id)
        return
    reader.book.add(*where, "seen", placed.unique_id)
    history.seen.add(frame)
    if fate == "waiting":
        return
    reader.book.add(*where, "accepted", placed.unique_id)
    if fate == "rejected:shape":
        reader.book.add(*where, fate, placed.unique_id)
        history.rejected.setdefault("shape", set()).add(frame)
    if frame not in history.accepted:
        # The buffer keeps the message of the first one to send it.
        history.accepted.add(frame)
        history.carried[frame] = placed
    else:
        reader.book.count(*where[:2], "redundant")


def _go_on(draw, history, frame, fate):
    """Let an accepted frame get as far as it gets."""
    placed = history.carried.pop(frame)
    if fate == "open":
        return
    where = (placed.channel, placed.epoch_ns, "s")
    reached = draw(st.sets(st.sampled_from(sorted(history.sinks)), min_size=1))
    for vertex in reached:
        if fate == "done":
            history.sinks[vertex].add(*where, "reconstructed", placed.unique_id)
            history.at_sinks[vertex].add(frame)
        else:
            history.sinks[vertex].add(*where, fate, placed.unique_id)
            history.rejected.setdefault(fate.removeprefix("rejected:"), set()).add(frame)


def total(ranges_by_channel):
    return sum(last - first + 1 for ranges in ranges_by_channel.values() for first, last in ranges)


@given(histories())
def test_while_it_runs_every_frame_is_where_it_is(history):
    account = settle(history.pages(), ended=False)
    assert account.adds_up
    assert account.published == len(history.published)
    assert account.reconstructed == len(history.reconstructed)
    assert dict(account.rejected) == {reason: len(ids) for reason, ids in history.rejected.items()}
    assert account.accepted == len(history.accepted)
    assert account.missed == len(history.published - history.seen)
    assert account.in_flight == len(history.seen - history.ended)
    assert account.lost == 0
    assert total(account.missed_ids) == account.missed


@given(histories())
def test_when_it_has_ended_what_is_accepted_and_has_no_end_is_lost(history):
    account = settle(history.pages(), ended=True)
    assert account.adds_up
    assert account.published == len(history.published)
    assert account.in_flight == 0
    # Seen by a reader and never in the buffer: missed, not lost.
    assert account.missed == len(history.published - history.accepted)
    assert account.lost == len(history.accepted - history.ended)
    assert (account.lost == 0) == (history.accepted == history.ended)
    assert total(account.lost_ids) == account.lost


@given(histories(), st.data(), st.booleans())
def test_lost_and_old_pages_of_readers_cost_knowledge_and_no_frame_is_counted_twice(history, data, ended):
    pages = []
    for reader in history.readers:
        kept = data.draw(st.sampled_from(["whole", "old", "lost"]))
        if kept == "whole":
            pages.append(reader.page())
        elif kept == "old" and reader.saved is not None:
            pages.append(reader.saved)
    account = settle(history.pages(pages), ended=ended)
    assert account.adds_up
    # What the sinks have is known from them alone.
    assert account.reconstructed == len(history.reconstructed)
    assert sum(account.rejected.values()) <= len(set().union(*history.rejected.values()))
    assert account.accepted <= len(history.accepted)
    if history.accepted == history.ended:
        assert account.lost == 0


@given(histories())
def test_the_order_of_the_pages_does_not_matter(history):
    pages = list(history.pages())
    assert settle(reversed(pages), ended=True).to_json()["lost"] == settle(pages, ended=True).to_json()["lost"]
    assert settle(reversed(pages), ended=False).reconstructed == settle(pages, ended=False).reconstructed


def page(kind, vertex, *epochs):
    """Write a page: (epoch_ns, sets[, counts])."""
    entries = [
        {"channel": CHANNEL, "epoch_ns": epoch[0], "scan": "", "sets": epoch[1], "counts": dict(*epoch[2:])}
        for epoch in epochs
    ]
    return {"kind": kind, "vertex": vertex, "ledger": {"epochs": entries}}


def test_two_readers_that_joined_one_run_at_different_frames_see_one_run():
    first = page("source", "in", (100, {"seen": [[1, 50]], "accepted": [[1, 50]]}))
    second = page("source", "in", (130, {"seen": [[30, 50]], "accepted": [[30, 50]]}, {"redundant": 21}))
    sink = page("sink", "out", (100, {"reconstructed": [[1, 29]]}), (130, {"reconstructed": [[30, 50]]}))
    account = settle([first, second, sink], ended=True)
    assert (account.published, account.reconstructed, account.lost, account.duplicates) == (50, 50, 0, 21)


def test_a_restart_that_only_the_second_reader_saw_begin_is_a_restart():
    first = page("source", "in", (100, {"seen": [[1, 50]]}), (230, {"seen": [[30, 50]]}))
    second = page("source", "in", (200, {"seen": [[1, 50]]}))
    assert settle([first, second], ended=False).published == 100


def test_a_restart_is_known_from_the_sink_alone():
    sink = page("sink", "out", (100, {"reconstructed": [[1, 50]]}), (200, {"reconstructed": [[1, 30]]}))
    account = settle([sink], ended=True)
    assert (account.published, account.reconstructed, account.lost) == (80, 80, 0)


def test_what_a_killed_reader_did_not_write_down_is_known_from_the_sink():
    # It wrote of the first run; of the second it had sent five frames; its successor goes on with the sixth.
    source = page("source", "in", (100, {"seen": [[1, 50]], "accepted": [[1, 50]]}), (206, {"seen": [[6, 9]]}))
    sink = page("sink", "out", (100, {"reconstructed": [[1, 50]]}), (200, {"reconstructed": [[1, 5]]}))
    account = settle([source, sink], ended=False)
    assert (account.published, account.reconstructed, account.in_flight, account.missed) == (59, 55, 4, 0)


def test_a_frame_is_a_result_when_every_sink_has_it():
    source = page("source", "in", (100, {"seen": [[1, 9]], "accepted": [[1, 9]]}))
    image = page("sink", "image", (100, {"reconstructed": [[1, 9]]}, {"duplicates": 3}))
    out = page("sink", "out", (100, {"reconstructed": [[1, 4]]}, {"duplicates": 1}))
    account = settle([source, image, out], ended=False)
    assert (account.reconstructed, account.in_flight, account.duplicates) == (4, 5, 3)
    ended = settle([source, image, out], ended=True)
    assert (ended.lost, ended.lost_ids) == (5, {CHANNEL: [[5, 9]]})


def test_channels_are_accounts_of_their_own():
    one = page("source", "in", (100, {"seen": [[1, 5]]}))
    other = page("source", "in2", (100, {"seen": [[1, 7]]}))
    other["ledger"]["epochs"][0]["channel"] = "ad:other"
    assert settle([one, other], ended=False).published == 12


def test_a_frame_that_one_reader_missed_and_the_other_holds_is_not_missed():
    one = page("source", "in", (100, {"seen": [[1, 4]], "missed": [[5, 5]]}))
    other = page("source", "in", (100, {"seen": [[1, 5]]}))
    account = settle([one, other], ended=False)
    assert (account.missed, account.in_flight) == (0, 5)


def test_an_account_of_nothing():
    account = settle([], ended=True)
    assert account.adds_up
    assert account.to_json()["published"] == 0
    assert settle([{"kind": "inference"}, {"kind": "source", "ledger": {}}], ended=False).published == 0
