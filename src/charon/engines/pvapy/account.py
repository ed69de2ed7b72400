"""The baseline's account of frames, from the records of all its consumers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from charon.ledger.frame_log import FIRST_REJECTED, PROCESSED, RECORD, reason_of
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
    reasons
        Number of rejected frames by reason.
    """

    time_ns: int
    processed: IdSet
    rejected: IdSet
    reasons: Mapping[str, int]

    @property
    def received(self) -> IdSet:
        """Frames that a consumer received."""
        return self.processed.union(self.rejected)

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
    missed: int = field(init=False)

    def __post_init__(self) -> None:
        reasons: dict[str, int] = {}
        for epoch in self.epochs:
            for reason, n in epoch.reasons.items():
                reasons[reason] = reasons.get(reason, 0) + n
        object.__setattr__(self, "rejected", reasons)
        object.__setattr__(self, "processed", sum(len(epoch.processed) for epoch in self.epochs))
        object.__setattr__(self, "missed", sum(len(epoch.missed) for epoch in self.epochs))

    @property
    def received(self) -> int:
        """Number of frames that a consumer received."""
        return self.processed + sum(self.rejected.values())

    @property
    def published(self) -> int:
        """Number of frames that the detector published from the first to the last received one of each epoch."""
        return self.received + self.missed

    def to_json(self) -> dict[str, object]:
        """Return the account as JSON values, with the ids of missed and rejected frames as closed ranges."""
        return {
            "published": self.published,
            "received": self.received,
            "processed": self.processed,
            "missed": self.missed,
            "rejected": dict(self.rejected),
            "duplicates": self.duplicates,
            "epochs": [
                {
                    "time_ns": epoch.time_ns,
                    "processed": epoch.processed.ranges(),
                    "missed": epoch.missed.ranges(),
                    "rejected": epoch.rejected.ranges(),
                }
                for epoch in self.epochs
            ],
        }


def account_of(records: NDArray[np.void]) -> BaselineAccount:
    """Return the account of records.

    Parameters
    ----------
    records
        (n,) of `RECORD` from all consumers, each consumer's in order of receipt. Frames are ordered by their detector
        time; a frame whose ``uniqueId`` is not larger than that of the frame before begins an epoch.
    """
    if not len(records):
        return BaselineAccount()
    ordered = np.asarray(records, RECORD)[np.argsort(records["time_ns"], kind="stable")]
    ids, times = ordered["unique_id"], ordered["time_ns"]
    is_repeat = (ids[1:] == ids[:-1]) & (times[1:] == times[:-1])
    restarts = np.flatnonzero((ids[1:] <= ids[:-1]) & ~is_repeat) + 1
    duplicates = 0
    epochs: list[EpochAccount] = []
    for part in np.split(ordered, restarts):
        epoch = _epoch(part)
        epochs.append(epoch)
        duplicates += len(part) - len(epoch.received)
    return BaselineAccount(epochs, duplicates)


def _epoch(part: NDArray[np.void]) -> EpochAccount:
    # A frame whose result was published by one of its deliveries was processed.
    ids, outcomes = part["unique_id"], part["outcome"]
    processed = np.unique(ids[outcomes == PROCESSED])
    is_rejected = (outcomes >= FIRST_REJECTED) & ~np.isin(ids, processed)
    rejected, first = np.unique(ids[is_rejected], return_index=True)
    codes, numbers = np.unique(outcomes[is_rejected][first], return_counts=True)
    reasons = {str(reason_of(int(code))): int(n) for code, n in zip(codes, numbers, strict=True)}
    return EpochAccount(int(part["time_ns"][0]), _id_set(processed), _id_set(rejected), reasons)


def _id_set(ids: NDArray[np.int64]) -> IdSet:
    """Return the set of sorted, distinct ids."""
    if not len(ids):
        return IdSet()
    breaks = np.flatnonzero(np.diff(ids) > 1)
    first, last = ids[np.r_[0, breaks + 1]], ids[np.r_[breaks, len(ids) - 1]]
    return IdSet.from_ranges(np.stack([first, last], 1).tolist())
