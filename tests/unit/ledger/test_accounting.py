"""Every published frame is counted in exactly one state, whichever processes are killed.

That is: published = missed + reconstructed + rejected + in flight + lost.

The random histories contain a detector that restarts, one or two readers that connect and disconnect, frames that
are bad or missed, and sinks that have made different progress; then pages of the ledger that are outdated or missing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TypeVar

from hypothesis import assume, given
from hypothesis import strategies as st

from charon.frames import FrameId
from charon.ledger.accounting import compute_account
from charon.ledger.book import LedgerBook
from charon.ledger.entries import LedgerEntry
from charon.ledger.epochs import EpochTracker
from charon.ledger.id_set import IdSet
from charon.ledger.pages import InferencePage, SinkPage, SourcePage, page_from_json
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import SinkReport

AnyPage = TypeVar("AnyPage", SourcePage, InferencePage, SinkPage)
CHANNEL = "ad:image"
PROCESS = ProcessStats()


def source_page(entries):
    return SourcePage(process=PROCESS, channel=CHANNEL, entries=entries)


def sink_page(entries):
    return SinkPage(process=PROCESS, report=SinkReport(entries=entries))


def through_json(page: AnyPage) -> AnyPage:
    """Return the page as a reader of the ledger receives it."""
    restored = page_from_json(json.loads(json.dumps(page.to_json())))
    assert isinstance(restored, type(page))
    return restored


@dataclass
class Reader:
    """A replica of the source: its book, and an earlier page."""

    tracker: EpochTracker = field(default_factory=EpochTracker)
    book: LedgerBook = field(default_factory=LedgerBook)
    saved: SourcePage | None = None

    def page(self):
        """Return its current page of the ledger."""
        return through_json(source_page(self.book.entries()))


@dataclass
class History:
    """The true states of the frames, as sets of (run of the detector, number)."""

    readers: list[Reader]
    sinks: dict[str, LedgerBook]
    known: set = field(default_factory=set)
    seen: set = field(default_factory=set)
    accepted: set = field(default_factory=set)
    at_sinks: dict[str, set] = field(default_factory=dict)
    rejected: dict[str, set] = field(default_factory=dict)
    carried: dict = field(default_factory=dict)

    def pages(self, sources=None):
        """Return the ledger's pages by key, with the given ones instead of the readers'."""
        sources = [reader.page() for reader in self.readers] if sources is None else sources
        pages = {f"in.{k}": page for k, page in enumerate(sources)}
        sinks = {f"{vertex}.0": through_json(sink_page(book.entries())) for vertex, book in self.sinks.items()}
        return pages | sinks

    @property
    def reconstructed(self):
        """Frames that every sink has."""
        return set.intersection(*self.at_sinks.values())

    @property
    def final(self):
        """Frames that are reconstructed or rejected."""
        return self.reconstructed.union(*self.rejected.values())

    @property
    def published(self):
        """Frames whose number was seen, and those between them within one run of the detector."""
        frames = set()
        for run in {run for run, _ in self.known}:
            numbers = [n for r, n in self.known if r == run]
            frames |= {(run, n) for n in range(min(numbers), max(numbers) + 1)}
        return frames


FATES = ["missed", "waiting", "rejected:shape", "open", "rejected:not-finite", "done", "done", "done"]


@st.composite
def histories(draw):
    """Draw a history. The first reader stays connected once it has joined, in the first run; the second may not."""
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
    # The run of a frame can be known only if a reader saw that run begin.
    dropped = draw(st.sets(st.integers(joined + 1, len(published)), max_size=4))
    dropped -= {step for step, (_, n) in enumerate(published) if n == 1}
    last_run = {}
    for step, frame in enumerate(published):
        fate = draw(st.sampled_from(FATES))
        for k, reader in enumerate(readers):
            if step == saves[k]:
                reader.saved = reader.page()
            if step not in presence[k] or (k == 0 and step in dropped):
                continue
            frame_id, _ = reader.tracker.assign(FrameId(CHANNEL, frame[1], 1000 + step))
            # A reader that was away during a restart and returned at a higher number cannot recognise the restart.
            assume(last_run.setdefault((k, frame_id.epoch_ns), frame[0]) == frame[0])
            its_fate = draw(st.sampled_from(["missed", fate])) if len(readers) == 2 else fate
            _read(history, reader, frame_id, frame, its_fate)
        if frame in history.accepted:
            _process(draw, history, frame, fate)
    for k, reader in enumerate(readers):
        if saves[k] == len(published):
            reader.saved = reader.page()
    assume(history.known)
    return history


def _read(history, reader, frame_id, frame, fate):
    """Simulate a reader that receives a frame and sends it to the buffer."""
    history.known.add(frame)
    key = (frame_id.channel, frame_id.epoch_ns, "s")
    if fate == "missed":
        reader.book.add(*key, "missed", frame_id.unique_id)
        return
    reader.book.add(*key, "seen", frame_id.unique_id)
    history.seen.add(frame)
    if fate == "waiting":
        return
    reader.book.add(*key, "accepted", frame_id.unique_id)
    if fate == "rejected:shape":
        reader.book.add(*key, fate, frame_id.unique_id)
        history.rejected.setdefault("shape", set()).add(frame)
    if frame not in history.accepted:
        # The buffer keeps the message of the first reader that sends the frame.
        history.accepted.add(frame)
        history.carried[frame] = frame_id
    else:
        reader.book.count(*key[:2], "redundant")


def _process(draw, history, frame, fate):
    """Simulate the path of an accepted frame to the sinks, according to its fate."""
    frame_id = history.carried.pop(frame)
    if fate == "open":
        return
    key = (frame_id.channel, frame_id.epoch_ns, "s")
    reached = draw(st.sets(st.sampled_from(sorted(history.sinks)), min_size=1))
    for vertex in reached:
        if fate == "done":
            history.sinks[vertex].add(*key, "reconstructed", frame_id.unique_id)
            history.at_sinks[vertex].add(frame)
        else:
            history.sinks[vertex].add(*key, fate, frame_id.unique_id)
            history.rejected.setdefault(fate.removeprefix("rejected:"), set()).add(frame)


def total(ranges_by_channel):
    return sum(last - first + 1 for ranges in ranges_by_channel.values() for first, last in ranges)


@given(histories())
def test_running_account_matches_the_history(history):
    account = compute_account(history.pages(), ended=False)
    assert account.adds_up
    assert account.published == len(history.published)
    assert account.reconstructed == len(history.reconstructed)
    assert dict(account.rejected) == {reason: len(ids) for reason, ids in history.rejected.items()}
    assert account.accepted == len(history.accepted)
    assert account.missed == len(history.published - history.seen)
    assert account.in_flight == len(history.seen - history.final)
    assert account.lost == 0
    assert total(account.missed_ids) == account.missed


@given(histories())
def test_unfinished_frames_of_an_ended_run_are_lost(history):
    account = compute_account(history.pages(), ended=True)
    assert account.adds_up
    assert account.published == len(history.published)
    assert account.in_flight == 0
    # A frame that a reader saw and no buffer confirmed is missed, not lost.
    assert account.missed == len(history.published - history.accepted)
    assert account.lost == len(history.accepted - history.final)
    assert (account.lost == 0) == (history.accepted == history.final)
    assert total(account.lost_ids) == account.lost


@given(histories(), st.data(), st.booleans())
def test_missing_source_pages_never_count_frames_twice(history, data, ended):
    pages = []
    for reader in history.readers:
        kept = data.draw(st.sampled_from(["current", "outdated", "missing"]))
        if kept == "current":
            pages.append(reader.page())
        elif kept == "outdated" and reader.saved is not None:
            pages.append(reader.saved)
    account = compute_account(history.pages(pages), ended=ended)
    assert account.adds_up
    # The pages of the sinks alone contain these numbers.
    assert account.reconstructed == len(history.reconstructed)
    assert sum(account.rejected.values()) <= len(set().union(*history.rejected.values()))
    assert account.accepted <= len(history.accepted)
    if history.accepted == history.final:
        assert account.lost == 0


@given(histories())
def test_order_of_pages_does_not_matter(history):
    pages = history.pages()
    backwards = dict(reversed(pages.items()))
    assert compute_account(backwards, ended=True).lost == compute_account(pages, ended=True).lost
    assert compute_account(backwards, ended=False).reconstructed == compute_account(pages, ended=False).reconstructed


def entries(*epochs, channel=CHANNEL):
    """Return the entries of a page for epochs given as (epoch_ns, ranges by state[, counts])."""
    return tuple(
        LedgerEntry(
            channel=channel,
            epoch_ns=epoch[0],
            sets={state: IdSet.from_ranges(ranges) for state, ranges in epoch[1].items()},
            counts=dict(*epoch[2:]),
        )
        for epoch in epochs
    )


def test_readers_that_join_one_epoch_late_share_it():
    first = source_page(entries((100, {"seen": [[1, 50]], "accepted": [[1, 50]]})))
    second = source_page(entries((130, {"seen": [[30, 50]], "accepted": [[30, 50]]}, {"redundant": 21})))
    sink = sink_page(entries((100, {"reconstructed": [[1, 29]]}), (130, {"reconstructed": [[30, 50]]})))
    account = compute_account({"in.0": first, "in.1": second, "out.0": sink}, ended=True)
    assert (account.published, account.reconstructed, account.lost, account.duplicates) == (50, 50, 0, 21)


def test_restart_seen_by_second_reader_only_is_counted():
    first = source_page(entries((100, {"seen": [[1, 50]]}), (230, {"seen": [[30, 50]]})))
    second = source_page(entries((200, {"seen": [[1, 50]]})))
    assert compute_account({"in.0": first, "in.1": second}, ended=False).published == 100


def test_sink_page_alone_shows_a_restart():
    sink = sink_page(entries((100, {"reconstructed": [[1, 50]]}), (200, {"reconstructed": [[1, 30]]})))
    account = compute_account({"out.0": sink}, ended=True)
    assert (account.published, account.reconstructed, account.lost) == (80, 80, 0)


def test_sink_page_completes_page_of_a_killed_source():
    # It wrote the first epoch and was killed after sending five frames of the second; its successor saw 6 to 9.
    source = source_page(entries((100, {"seen": [[1, 50]], "accepted": [[1, 50]]}), (206, {"seen": [[6, 9]]})))
    sink = sink_page(entries((100, {"reconstructed": [[1, 50]]}), (200, {"reconstructed": [[1, 5]]})))
    account = compute_account({"in.0": source, "out.0": sink}, ended=False)
    assert (account.published, account.reconstructed, account.in_flight, account.missed) == (59, 55, 4, 0)


def test_frame_is_reconstructed_once_every_sink_has_it():
    source = source_page(entries((100, {"seen": [[1, 9]], "accepted": [[1, 9]]})))
    image = sink_page(entries((100, {"reconstructed": [[1, 9]]}, {"duplicates": 3})))
    out = sink_page(entries((100, {"reconstructed": [[1, 4]]}, {"duplicates": 1})))
    pages = {"in.0": source, "image.0": image, "out.0": out}
    account = compute_account(pages, ended=False)
    assert (account.reconstructed, account.in_flight, account.duplicates) == (4, 5, 3)
    ended = compute_account(pages, ended=True)
    assert (ended.lost, ended.lost_ids) == (5, {CHANNEL: [[5, 9]]})


def test_channels_are_counted_separately():
    first = source_page(entries((100, {"seen": [[1, 5]]})))
    second = source_page(entries((100, {"seen": [[1, 7]]}), channel="ad:other"))
    assert compute_account({"in.0": first, "in2.0": second}, ended=False).published == 12


def test_frame_seen_by_one_reader_is_not_missed():
    first = source_page(entries((100, {"seen": [[1, 4]], "missed": [[5, 5]]})))
    second = source_page(entries((100, {"seen": [[1, 5]]})))
    account = compute_account({"in.0": first, "in.1": second}, ended=False)
    assert (account.missed, account.in_flight) == (0, 5)


def test_account_without_entries_is_empty():
    account = compute_account({}, ended=True)
    assert account.adds_up
    assert account.to_json()["published"] == 0
    pages = {"cat.0": InferencePage(process=PROCESS), "in.0": SourcePage(process=PROCESS)}
    assert compute_account(pages, ended=False).published == 0
