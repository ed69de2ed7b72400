"""The baseline's account of frames, from the records of all its consumers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from charon.ledger.frame_log import FIRST_REJECTED, PROCESSED, RECEIVED, RECORD, REPEATED, reason_of
from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class EpochAccount:
    """Frames of one epoch by ``uniqueId``.

    Parameters
    ----------
    time_ns
        Detector time of its first frame.
    processed, rejected
        Frames whose result was published, and frames that were rejected.
    queued
        Frames that wait for inference.
    lost
        Frames that were received and will be neither processed nor rejected: their consumer was killed.
    reasons
        Number of rejected frames by reason.
    """

    time_ns: int
    processed: IdSet
    rejected: IdSet
    queued: IdSet
    lost: IdSet
    reasons: Mapping[str, int]

    @property
    def received(self) -> IdSet:
        """Frames that a consumer received."""
        return self.processed.union(self.rejected, self.queued, self.lost)

    @property
    def missed(self) -> IdSet:
        """Frames between the first and the last received one that no consumer received."""
        return self.received.gaps()


@dataclass(frozen=True, slots=True)
class BaselineAccount:
    """Number of frames by outcome, each frame counted once.

    Parameters
    ----------
    epochs
        Epochs in order.
    duplicates
        Number of further deliveries of frames that are already counted.
    """

    epochs: Sequence[EpochAccount] = ()
    duplicates: int = 0
    rejected: Mapping[str, int] = field(init=False)
    processed: int = field(init=False)
    queued: int = field(init=False)
    lost: int = field(init=False)
    missed: int = field(init=False)

    def __post_init__(self) -> None:
        reasons: dict[str, int] = {}
        for epoch in self.epochs:
            for reason, n in epoch.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + n
        object.__setattr__(self, "rejected", reasons)
        for name in ("processed", "queued", "lost", "missed"):
            object.__setattr__(self, name, sum(len(getattr(epoch, name)) for epoch in self.epochs))

    @property
    def received(self) -> int:
        """Number of frames that a consumer received."""
        return self.processed + sum(self.rejected.values()) + self.queued + self.lost

    @property
    def published(self) -> int:
        """Number of frames that the detector published from the first to the last received one of each epoch."""
        return self.received + self.missed

    def to_json(self) -> dict[str, object]:
        """Return the account as JSON values, with the ids of the frames in each state as closed ranges."""
        return {
            "published": self.published,
            "received": self.received,
            "processed": self.processed,
            "queued": self.queued,
            "lost": self.lost,
            "missed": self.missed,
            "rejected": dict(self.rejected),
            "duplicates": self.duplicates,
            "epochs": [
                {
                    "time_ns": epoch.time_ns,
                    "processed": epoch.processed.ranges(),
                    "queued": epoch.queued.ranges(),
                    "lost": epoch.lost.ranges(),
                    "missed": epoch.missed.ranges(),
                    "rejected": epoch.rejected.ranges(),
                }
                for epoch in self.epochs
            ],
        }


def account_of(logs: Sequence[NDArray[np.void]], *, ended: bool = True) -> BaselineAccount:
    """Return the account of the consumers' frame logs.

    Frames are ordered by their detector time; a frame whose ``uniqueId`` is not larger than that of the frame before
    begins an epoch. Before the end, a received frame without an outcome is in the queue, unless its consumer has
    processed a frame that it received later: consumers process frames in order.

    Parameters
    ----------
    logs
        The records of each consumer, (n,) of `RECORD` in order of writing.
    ended
        Whether the consumers have exited, so that received frames without an outcome are lost.
    """
    records = np.concatenate([np.empty(0, RECORD), *logs])
    if not len(records):
        return BaselineAccount()
    consumers = np.repeat(np.arange(len(logs)), [len(log) for log in logs])
    # The records of a frame together, in order of writing; `order` is also the position in the logs.
    order = np.lexsort((records["unique_id"], records["time_ns"]))
    records = records[order]
    is_delivery = np.isin(records["outcome"], (RECEIVED, REPEATED))
    is_queued = np.zeros(len(records), bool) if ended else _is_queued(records, consumers[order], order)
    epoch_of = _epochs(records, is_delivery, order)[_latest(is_delivery)]
    by_epoch = np.argsort(epoch_of, kind="stable")
    ends = np.cumsum(np.bincount(epoch_of))[:-1]
    epochs = [_epoch(records[rows], is_queued[rows]) for rows in np.split(by_epoch, ends)]
    return BaselineAccount(epochs, int(is_delivery.sum()) - sum(len(epoch.received) for epoch in epochs))


def _latest(condition: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each row the last row up to it that meets a condition."""
    return np.maximum.accumulate(np.where(condition, np.arange(len(condition)), 0))


def _epochs(records: NDArray[np.void], is_delivery: NDArray[np.bool_], position: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the number of the epoch of each delivery; 0 for other records."""
    rows = np.flatnonzero(is_delivery)
    rows = rows[np.lexsort((position[rows], records["time_ns"][rows]))]
    ids, times = records["unique_id"][rows], records["time_ns"][rows]
    is_repeat = (ids[1:] == ids[:-1]) & (times[1:] == times[:-1])
    epochs = np.zeros(len(records), np.intp)
    epochs[rows[1:]] = np.cumsum((ids[1:] <= ids[:-1]) & ~is_repeat)
    return epochs


def _is_queued(records: NDArray[np.void], consumers: NDArray[np.intp], position: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which records are receipts of frames that are younger than the latest processed one of their consumer."""
    outcomes = records["outcome"]
    receipts = position[_latest(outcomes == RECEIVED)]
    processed = outcomes == PROCESSED
    latest = np.full(consumers.max() + 1, -1, np.intp)
    np.maximum.at(latest, consumers[processed], receipts[processed])
    return (outcomes == RECEIVED) & (position > latest[consumers])


def _epoch(part: NDArray[np.void], is_queued: NDArray[np.bool_]) -> EpochAccount:
    # A frame whose result was published by one of its deliveries was processed.
    ids, outcomes = part["unique_id"], part["outcome"]
    processed = np.unique(ids[outcomes == PROCESSED])
    is_rejected = (outcomes >= FIRST_REJECTED) & ~np.isin(ids, processed)
    rejected, first = np.unique(ids[is_rejected], return_index=True)
    codes, numbers = np.unique(outcomes[is_rejected][first], return_counts=True)
    reasons = {str(reason_of(int(code))): int(n) for code, n in zip(codes, numbers, strict=True)}
    is_open = ~np.isin(ids, processed) & ~np.isin(ids, rejected)
    queued = np.unique(ids[is_open & is_queued])
    lost = np.setdiff1d(ids[is_open], queued)
    return EpochAccount(
        time_ns=int(part["time_ns"][0]),
        processed=_id_set(processed),
        rejected=_id_set(rejected),
        queued=_id_set(queued),
        lost=_id_set(lost),
        reasons=reasons,
    )


def _id_set(ids: NDArray[np.int64]) -> IdSet:
    """Return the set of sorted, distinct ids."""
    if not len(ids):
        return IdSet()
    breaks = np.flatnonzero(np.diff(ids) > 1)
    first, last = ids[np.r_[0, breaks + 1]], ids[np.r_[breaks, len(ids) - 1]]
    return IdSet.from_ranges(np.stack([first, last], 1).tolist())
