"""Match the records of an engine with the frames that the detector published, by exact id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.comparison.model import FrameCounts
from charon.comparison.samples import FrameSamples
from charon.ledger.frame_log import FIRST_REJECTED, PROCESSED, RECEIVED, RECORD, STITCHED

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class MatchedFrames:
    """Frames that the detector published, with what the engine recorded about them.

    Parameters
    ----------
    samples
        One row per published frame.
    unknown
        Number of records of frames that the detector never published, and of results without a time. If it is not 0,
        the account is wrong.
    """

    samples: FrameSamples
    unknown: int


def match_frames(published: NDArray[np.void], records: NDArray[np.void]) -> MatchedFrames:
    """Match records with published frames.

    A frame is identified by its ``uniqueId`` and its time stamp: a detector that restarts repeats ids. A frame that is
    in the image has a result. If no record of that result exists, because the worker was killed before it wrote the
    record, the time in the image is the time of the result; it is an upper limit.

    Parameters
    ----------
    published
        (n,) of `RECORD`, the detector's own log, in any order.
    records
        (m,) of `RECORD` from all replicas of the engine, in any order.
    """
    frames = _distinct_frames(np.asarray(published, RECORD))
    records = np.asarray(records, RECORD)
    rows = _rows_of(records, frames)
    outcome, done_ns = records["outcome"], records["done_ns"]
    is_result = (outcome == PROCESSED) | (outcome == STITCHED)
    is_known = (rows >= 0) & ~(is_result & (done_ns <= 0))
    rows, outcome = rows[is_known], outcome[is_known]
    # Repeated and rejected frames may have no time of their own; they were not received before their time stamp.
    done_ns = np.maximum(done_ns[is_known], np.where(is_result[is_known], 0, frames["time_ns"][rows]))

    def first(event: int) -> NDArray[np.int64]:
        chosen = outcome == event
        return _first_times(len(frames), rows[chosen], done_ns[chosen])

    received = first(RECEIVED)
    result, stitched = first(PROCESSED), first(STITCHED)
    rejected = np.bincount(rows[outcome >= FIRST_REJECTED], minlength=len(frames)) > 0
    any_record = _first_times(len(frames), rows, done_ns)
    samples = FrameSamples(
        unique_id=frames["unique_id"].astype(np.int64),
        published_ns=frames["time_ns"].astype(np.int64),
        received_ns=np.where(received > 0, received, any_record),
        result_ns=np.where(result > 0, result, stitched),
        stitched_ns=stitched,
        results=np.maximum(np.bincount(rows[outcome == PROCESSED], minlength=len(frames)), stitched > 0),
        rejected=rejected,
    )
    return MatchedFrames(samples, int(np.count_nonzero(~is_known)))


def count_frames(matched: MatchedFrames) -> FrameCounts:
    """Return the account of matched frames; the ranges of ids are in the order of publication."""
    samples = matched.samples
    is_processed = samples.results > 0
    is_rejected = samples.rejected & ~is_processed
    is_missed = ~is_processed & ~is_rejected & (samples.received_ns == 0)
    is_lost = ~is_processed & ~is_rejected & (samples.received_ns > 0)
    return FrameCounts(
        published=len(samples),
        processed=int(np.count_nonzero(is_processed)),
        rejected=int(np.count_nonzero(is_rejected)),
        missed=int(np.count_nonzero(is_missed)),
        lost=int(np.count_nonzero(is_lost)),
        duplicates=int(np.sum(samples.results[is_processed] - 1)),
        unknown=matched.unknown,
        missed_ids=_ranges(samples.unique_id[is_missed]),
        lost_ids=_ranges(samples.unique_id[is_lost]),
    )


def _distinct_frames(published: NDArray[np.void]) -> NDArray[np.void]:
    """Return each published frame once, ordered by time stamp, then by id."""
    ordered = published[np.lexsort((published["unique_id"], published["time_ns"]))]
    is_first = np.ones(len(ordered), np.bool_)
    for_same = (ordered["unique_id"][1:] == ordered["unique_id"][:-1]) & (
        ordered["time_ns"][1:] == ordered["time_ns"][:-1]
    )
    is_first[1:] = ~for_same
    return ordered[is_first]


def _rows_of(records: NDArray[np.void], frames: NDArray[np.void]) -> NDArray[np.int64]:
    """Return the row of each record's frame, (m,) int64; -1 if the frame was not published."""
    if not len(frames):
        return np.full(len(records), -1, np.int64)
    times, ids = np.unique(frames["time_ns"]), np.unique(frames["unique_id"])

    def key(rows: NDArray[np.void]) -> NDArray[np.int64]:
        # The order of a frame's time and id among the published ones; both together fit into one integer.
        time = np.searchsorted(times, rows["time_ns"]).clip(max=len(times) - 1)
        unique_id = np.searchsorted(ids, rows["unique_id"]).clip(max=len(ids) - 1)
        return time * len(ids) + unique_id

    found = np.searchsorted(key(frames), key(records)).clip(max=len(frames) - 1)
    is_same = (frames["unique_id"][found] == records["unique_id"]) & (frames["time_ns"][found] == records["time_ns"])
    return np.where(is_same, found, -1)


def _first_times(frames: int, rows: NDArray[np.int64], times_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the earliest time of each row, (frames,) int64; 0 for a row without a time."""
    first = np.full(frames, _NEVER, np.int64)
    np.minimum.at(first, rows, times_ns)
    return np.where(first == _NEVER, 0, first)


def _ranges(ids: NDArray[np.int64]) -> list[list[int]]:
    """Return ids as closed ranges of consecutive ids, in the same order."""
    if not len(ids):
        return []
    breaks = np.flatnonzero(np.diff(ids) != 1)
    return np.stack([ids[np.r_[0, breaks + 1]], ids[np.r_[breaks, len(ids) - 1]]], 1).tolist()
