"""A synthetic run with known losses, duplicates, restarts and replicas gives exactly those figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.comparison.accounting import count_frames, match_frames
from charon.errors import Reason
from charon.ledger.frame_log import PROCESSED, RECEIVED, RECORD, REPEATED, STITCHED, rejected

START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 10_000_000
OUTCOMES = ("missed", "lost", "rejected", "processed", "stitched")


@st.composite
def runs(draw):
    """Return published frames and records in any order, with the outcome and the results of each published frame."""
    starts = draw(st.lists(st.integers(0, 5), min_size=1, max_size=3))
    frames = []
    for start in starts:  # each start of the detector
        frames += [(start + k, START_NS + (len(frames) + k) * PERIOD_NS) for k in range(draw(st.integers(0, 12)))]
    records, known = [], {}
    for frame in frames:
        outcome = draw(st.sampled_from(OUTCOMES))
        results = draw(st.integers(1, 3)) if outcome in {"processed", "stitched"} else 0
        times = [frame[1] + draw(st.integers(1, 10**9)) for _ in range(results)]
        known[frame] = (outcome, times)
        if outcome == "missed":
            continue
        records.append((*frame, frame[1] + 1000, RECEIVED, 0))
        records += [(*frame, 0, REPEATED, 0)] * draw(st.integers(0, 2))
        if outcome == "rejected":
            records.append((*frame, draw(st.sampled_from([0, frame[1] + 2000])), rejected(Reason.SHAPE), 0))
        records += [(*frame, time, PROCESSED, 0) for time in times]
        if outcome == "stitched":
            records.append((*frame, max(times) + 5000, STITCHED, 0))
    order = draw(st.permutations(records))
    return draw(st.permutations(frames)), order, known


def log(rows):
    return np.array(rows, RECORD)


def published_log(frames):
    return log([(unique_id, time, time + 100, 0, 0) for unique_id, time in frames])


@given(runs())
def test_known_outcomes_are_counted_exactly(run):
    frames, records, known = run
    matched = match_frames(published_log(frames), log(records))
    counts = count_frames(matched)
    outcomes = [known[frame][0] for frame in frames]
    assert counts.published == len(frames)
    assert counts.processed == outcomes.count("processed") + outcomes.count("stitched")
    assert (counts.missed, counts.lost, counts.rejected) == tuple(map(outcomes.count, ("missed", "lost", "rejected")))
    assert counts.duplicates == sum(max(0, len(times) - 1) for _, times in known.values())
    assert counts.unknown == 0
    assert counts.without_result == counts.missed + counts.lost + counts.rejected


@given(runs())
def test_known_times_are_in_the_samples(run):
    frames, records, known = run
    samples = match_frames(published_log(frames), log(records)).samples
    rows = list(zip(samples.unique_id.tolist(), samples.published_ns.tolist(), strict=True))
    assert rows == sorted(known, key=lambda frame: frame[1])
    for k, frame in enumerate(rows):
        outcome, times = known[frame]
        assert samples.received_ns[k] == (0 if outcome == "missed" else frame[1] + 1000)
        assert samples.result_ns[k] == min(times, default=0)
        assert samples.stitched_ns[k] == (max(times) + 5000 if outcome == "stitched" else 0)
        assert samples.results[k] == len(times)
        assert samples.rejected[k] == (outcome == "rejected")


@given(runs())
def test_ids_of_missed_and_lost_frames_are_exact(run):
    frames, records, known = run
    counts = count_frames(match_frames(published_log(frames), log(records)))
    in_order = sorted(frames, key=lambda frame: frame[1])
    for outcome, ranges in (("missed", counts.missed_ids), ("lost", counts.lost_ids)):
        ids = [unique_id for first, last in ranges for unique_id in range(first, last + 1)]
        assert ids == [frame[0] for frame in in_order if known[frame][0] == outcome]


@given(runs(), st.integers(1, 4))
def test_records_of_other_frames_are_unknown(run, strangers):
    frames, records, _ = run
    # The id exists, but with the time stamp of another frame.
    other = [(0, START_NS - k - 1, START_NS, PROCESSED, 0) for k in range(strangers)]
    expected = match_frames(published_log(frames), log(records))
    matched = match_frames(published_log(frames), log([*other, *records]))
    assert matched.unknown == strangers
    assert np.array_equal(matched.samples.results, expected.samples.results)


def test_frame_without_received_record_was_received():
    frame = (4, START_NS)
    matched = match_frames(published_log([frame]), log([(*frame, 0, REPEATED, 0)]))
    assert (count_frames(matched).lost, matched.samples.received_ns[0]) == (1, START_NS)


def test_rejected_frame_with_result_is_processed():
    frame = (4, START_NS)
    records = [(*frame, START_NS + 1, rejected(Reason.POISON), 0), (*frame, START_NS + 9, PROCESSED, 0)]
    counts = count_frames(match_frames(published_log([frame]), log(records)))
    assert (counts.processed, counts.rejected, counts.duplicates) == (1, 0, 0)


def test_stitched_frame_without_result_record_counts():
    # The worker was killed after the buffer had confirmed the patch, and before it wrote the record.
    frame = (4, START_NS)
    records = [(*frame, START_NS + 1, RECEIVED, 0), (*frame, START_NS + 9, STITCHED, 0)]
    matched = match_frames(published_log([frame]), log(records))
    assert count_frames(matched).processed == 1
    assert matched.samples.result_ns[0] == START_NS + 9


@pytest.mark.parametrize("outcome", [PROCESSED, STITCHED])
def test_result_without_time_has_no_latency(outcome):
    frame = (4, START_NS)
    matched = match_frames(published_log([frame]), log([(*frame, 0, outcome, 0)]))
    assert matched.unknown == 1
    assert matched.samples.result_ns[0] == 0
    assert count_frames(matched).processed == 0


def test_frame_in_detector_log_twice_is_one_frame():
    frame = (4, START_NS)
    matched = match_frames(published_log([frame, frame]), log([(*frame, START_NS + 9, PROCESSED, 0)]))
    assert (len(matched.samples), count_frames(matched).duplicates) == (1, 0)


def test_nothing_published_gives_empty_account():
    matched = match_frames(log([]), log([(1, START_NS, START_NS, PROCESSED, 0)]))
    assert (len(matched.samples), matched.unknown) == (0, 1)
    assert count_frames(matched).published == 0


def test_large_log_is_matched_quickly():
    n = 200_000
    ids = np.arange(n)
    rng = np.random.default_rng(1)
    published = np.zeros(n, RECORD)
    published["unique_id"], published["time_ns"] = ids, START_NS + ids * PERIOD_NS
    records = published[rng.permutation(n)[: n - 7]]
    records["done_ns"], records["outcome"] = records["time_ns"] + 3_000_000, PROCESSED
    counts = count_frames(match_frames(published, records))
    assert (counts.processed, counts.missed, sum(b - a + 1 for a, b in counts.missed_ids)) == (n - 7, 7, 7)
