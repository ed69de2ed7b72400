"""The baseline's account: exact figures for known gaps, repeats, restarts and bad frames."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charon.engines.pvapy.account import account_of
from charon.engines.pvapy.consumer_counts import ConsumerCounts
from charon.errors import Reason
from charon.frames import FrameId
from charon.ledger.frame_log import PROCESSED, RECORD, REPEATED, rejected

FATES = st.sampled_from(["processed", "missed", "repeated", *Reason])
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
    for unique_id, time_ns, fate in frames_of(epochs):
        frame = FrameId("ad:image", unique_id, time_ns)
        for _ in range({"missed": 0, "repeated": 2}.get(fate, 1)):
            outcome, done_ns = REPEATED, 0
            if counts.receive(frame):
                if isinstance(fate, Reason):
                    outcome = rejected(fate)
                    counts.reject(fate)
                else:
                    outcome, done_ns = PROCESSED, time_ns + 5 * MS
                    counts.publish([frame], done_ns)
            records.append((unique_id, time_ns, done_ns, outcome, 0))
    return np.array(records, RECORD), counts


def expected(epochs):
    fates = [fate for _, _, fate in frames_of(epochs)]
    reasons = {str(reason): fates.count(reason) for reason in Reason if reason in fates}
    return {
        "published": len(fates),
        "processed": fates.count("processed") + fates.count("repeated"),
        "missed": fates.count("missed"),
        "rejected": reasons,
        "duplicates": fates.count("repeated"),
    }


@given(EPOCHS)
def test_account_counts_every_frame_once(epochs):
    records, _ = consume(epochs)
    account = account_of(records).to_json()
    assert {name: account[name] for name in expected(epochs)} == expected(epochs)


@given(EPOCHS)
def test_consumer_counts_equal_the_account(epochs):
    records, counts = consume(epochs)
    figures, account = counts.figures(), account_of(records)
    assert figures.missed == account.missed
    assert (figures.received, figures.processed) == (account.received, account.processed)
    assert (figures.rejected, figures.duplicates) == (account.rejected, account.duplicates)
    assert figures.latency.summary.count == account.processed


@given(EPOCHS, st.lists(st.integers(0, 3), min_size=1, max_size=8), st.randoms())
def test_account_of_several_consumers_is_exact(epochs, turns, random):
    records, _ = consume(epochs)
    shares = [records[[turns[k % len(turns)] == consumer for k in range(len(records))]] for consumer in range(4)]
    random.shuffle(shares)
    assert account_of(np.concatenate(shares)).to_json() == account_of(records).to_json()


def test_account_lists_ids_as_ranges():
    records, _ = consume([["processed", "missed", "missed", Reason.SHAPE, "processed"]])
    (epoch,) = account_of(records).epochs
    assert epoch.processed.ranges() == [[1, 2], [6, 7]]
    assert (epoch.missed.ranges(), epoch.rejected.ranges()) == ([[3, 4]], [[5, 5]])


def test_frame_of_killed_consumer_is_processed_once():
    # A restarted consumer receives the latest frame again.
    twice = [(1, MS, 2 * MS, PROCESSED, 0), (1, MS, 9 * MS, PROCESSED, 0)]
    account = account_of(np.array(twice, RECORD))
    assert (account.processed, account.duplicates) == (1, 1)


def test_shared_stream_has_no_missed_frames():
    counts = ConsumerCounts(shared=True)
    for unique_id in (1, 3, 5):
        counts.receive(FrameId("ad:image", unique_id, unique_id * MS))
    assert counts.figures().missed is None


def test_no_records_give_an_empty_account():
    assert account_of(np.empty(0, RECORD)).published == 0
