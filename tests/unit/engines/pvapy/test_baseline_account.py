"""The baseline's account: exact figures for known gaps, repeats, restarts and bad frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charon.engines.pvapy.account import account_of
from charon.engines.pvapy.consumer_counts import ConsumerCounts
from charon.errors import Reason
from charon.frames import FrameId
from charon.ledger.frame_log import PROCESSED, RECEIVED, RECORD, REPEATED, rejected
from charon.ledger.id_set import IdSet

FATES = st.sampled_from(["processed", "missed", "repeated", "lost", *Reason])
EPOCHS = st.lists(st.lists(FATES, min_size=1, max_size=40), min_size=1, max_size=4)
MS = 1_000_000


def frames_of(epochs):
    """Return (uniqueId, time, fate) of the published frames; the first and the last of an epoch are received."""
    time_ns = 1_700_000_000_000_000_000
    for fates in epochs:
        time_ns += 1_000 * MS
        for unique_id, fate in enumerate(["processed", *fates, "processed"], 1):
            time_ns += MS
            yield unique_id, time_ns, fate


def consume(epochs):
    """Return the records and counts of one consumer, as the processor makes them."""
    counts, records = ConsumerCounts(), []

    def record(done_ns, outcome):
        records.append((unique_id, time_ns, done_ns, outcome, 0))

    for unique_id, time_ns, fate in frames_of(epochs):
        frame = FrameId("ad:image", unique_id, time_ns)
        for _ in range({"missed": 0, "repeated": 2}.get(fate, 1)):
            if not counts.receive(frame):
                record(time_ns + 3 * MS, REPEATED)
                continue
            record(time_ns + MS, RECEIVED)
            if isinstance(fate, Reason):
                record(time_ns + 2 * MS, rejected(fate))
                counts.reject(fate)
            elif fate != "lost":
                record(time_ns + 5 * MS, PROCESSED)
                counts.publish([frame], time_ns + 5 * MS)
    return np.array(records, RECORD), counts


def expected(epochs):
    fates = [fate for _, _, fate in frames_of(epochs)]
    reasons = {str(reason): fates.count(reason) for reason in Reason if reason in fates}
    return {
        "published": len(fates),
        "processed": fates.count("processed") + fates.count("repeated"),
        "queued": 0,
        "lost": fates.count("lost"),
        "missed": fates.count("missed"),
        "rejected": reasons,
        "duplicates": fates.count("repeated"),
    }


@given(EPOCHS, st.booleans())
def test_account_counts_every_frame_once(epochs, ended):
    records, _ = consume(epochs)
    account = account_of([records], ended=ended).to_json()
    assert {name: account[name] for name in expected(epochs)} == expected(epochs)
    lost = [n for n, _, fate in frames_of(epochs[:1]) if fate == "lost"]
    assert account_of([records], ended=ended).epochs[0].lost == IdSet(lost)


@given(EPOCHS)
def test_consumer_counts_equal_the_account(epochs):
    records, counts = consume(epochs)
    figures, account = counts.figures(), account_of([records])
    assert figures.missed == account.missed
    assert (figures.received, figures.processed) == (account.received, account.processed)
    assert (figures.rejected, figures.duplicates) == (account.rejected, account.duplicates)
    assert figures.latency.summary.count == account.processed
    assert figures.lost is None


@given(EPOCHS, st.lists(st.integers(0, 3), min_size=1, max_size=8), st.randoms())
def test_account_of_several_consumers_is_exact(epochs, turns, random):
    records, _ = consume(epochs)
    consumers = np.array([turns[key % len(turns)] for key in records["time_ns"] // MS])
    shares = [records[consumers == consumer] for consumer in range(4)]
    random.shuffle(shares)
    assert account_of(shares).to_json() == account_of([records]).to_json()


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20))
def test_latest_frames_are_queued_until_the_end(processed, lost, queued):
    fates = ["processed"] * processed + ["lost"] * lost + ["processed"] + ["lost"] * queued
    records = records_of(fates)
    live, final = account_of([records], ended=False), account_of([records])
    total = len(fates)
    assert (live.processed, live.lost, live.queued) == (processed + 1, lost, queued)
    assert live.epochs[0].queued == IdSet(range(total - queued + 1, total + 1))
    assert (final.processed, final.lost, final.queued) == (processed + 1, lost + queued, 0)
    assert live.published == final.published == total


def records_of(fates):
    """Return the records of frames that were received first and processed later, in order."""
    frames = [(n, n * MS) for n in range(1, len(fates) + 1)]
    done = [frame for frame, fate in zip(frames, fates, strict=True) if fate == "processed"]
    receipts = [(*frame, 0, RECEIVED, 0) for frame in frames]
    return np.array(receipts + [(*frame, 0, PROCESSED, 0) for frame in done], RECORD)


def test_queue_of_each_consumer_has_its_own_order():
    # The other consumer is faster; a repeat does not change the order of the queue.
    slow = [(1, MS, 0, RECEIVED, 0), (3, 3 * MS, 0, RECEIVED, 0), (1, MS, 0, REPEATED, 0), (1, MS, 0, PROCESSED, 0)]
    fast = [(2, 2 * MS, 0, RECEIVED, 0), (4, 4 * MS, 0, RECEIVED, 0), (2, 2 * MS, 0, PROCESSED, 0)]
    fast.append((4, 4 * MS, 0, PROCESSED, 0))
    account = account_of([np.array(slow, RECORD), np.array(fast, RECORD)], ended=False)
    assert (account.processed, account.queued, account.lost, account.missed) == (3, 1, 0, 0)


def test_frame_without_time_stamp_begins_an_epoch():
    records = [(n, 0, 0, outcome, 0) for n in (1, 2, 3, 1, 2) for outcome in (RECEIVED, PROCESSED)]
    account = account_of([np.array(records, RECORD)])
    assert [epoch.processed.ranges() for epoch in account.epochs] == [[[1, 3]], [[1, 2]]]
    assert account.duplicates == 0


def test_account_lists_ids_as_ranges():
    records, _ = consume([["processed", "missed", "missed", Reason.SHAPE, "processed", "lost"]])
    (epoch,) = account_of([records]).epochs
    assert epoch.processed.ranges() == [[1, 2], [6, 6], [8, 8]]
    assert (epoch.missed.ranges(), epoch.rejected.ranges()) == ([[3, 4]], [[5, 5]])
    assert epoch.lost.ranges() == [[7, 7]]


def test_frame_of_killed_consumer_is_processed_once():
    # A restarted consumer receives the latest frame again.
    twice = [(1, MS, done_ns * MS, outcome, 0) for done_ns in (2, 9) for outcome in (RECEIVED, PROCESSED)]
    account = account_of([np.array(twice, RECORD)])
    assert (account.processed, account.duplicates) == (1, 1)


def test_shared_stream_has_no_missed_frames():
    counts = ConsumerCounts(shared=True)
    for unique_id in (1, 3, 5):
        counts.receive(FrameId("ad:image", unique_id, unique_id * MS))
    assert counts.figures().missed is None


def test_no_records_give_an_empty_account():
    assert account_of([np.empty(0, RECORD)]).published == account_of([]).published == 0
