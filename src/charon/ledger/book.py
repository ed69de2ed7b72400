"""The account of frames by identity: which unique ids each stage has seen, in which state."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


@dataclass(slots=True)
class Epoch:
    """What is known of one run of rising unique ids.

    Parameters
    ----------
    scan
        Name of the scan that its frames belong to; the first one where there are several.
    sets
        Unique ids by state, as ``accepted`` or ``rejected:shape``.
    counts
        What is counted without names, as ``duplicates``.
    """

    scan: str = ""
    sets: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    counts: Counter[str] = field(default_factory=Counter[str])


class LedgerBook:
    """Sets of unique ids by channel, epoch and state; small however long the run, and JSON both ways.

    One thread may add and count while another makes the document.
    """

    def __init__(self) -> None:
        self._epochs: dict[tuple[str, int], Epoch] = {}
        self._lock = threading.Lock()

    def add(self, channel: str, epoch_ns: int, scan: str, state: str, unique_id: int) -> bool:
        """Note that a frame has reached a state; return whether that is new."""
        with self._lock:
            return self._ids(channel, epoch_ns, scan, state).add(unique_id)

    def add_range(self, channel: str, epoch_ns: int, scan: str, state: str, numbers: tuple[int, int]) -> None:
        """Note that frames that follow each other, from the first number to the last, have reached a state."""
        with self._lock:
            self._ids(channel, epoch_ns, scan, state).add_range(*numbers)

    def count(self, channel: str, epoch_ns: int, key: str, n: int = 1) -> None:
        """Count something that needs no names."""
        with self._lock:
            self._epoch(channel, epoch_ns).counts[key] += n

    def merge(self, other: LedgerBook) -> None:
        """Take in another book: names once however many books have them, counts added up."""
        for (channel, epoch_ns), theirs in other.epochs():
            epoch = self._epoch(channel, epoch_ns)
            epoch.scan = epoch.scan or theirs.scan
            for state, ids in theirs.sets.items():
                epoch.sets.setdefault(state, IdSet()).update(ids)
            epoch.counts.update(theirs.counts)

    def epochs(self) -> Iterator[tuple[tuple[str, int], Epoch]]:
        """Iterate over ((channel, epoch_ns), epoch), in the order in which they began."""
        yield from self._epochs.items()

    def ids(self, channel: str, epoch_ns: int, state: str) -> IdSet:
        """Return the unique ids in a state; an empty set where there are none."""
        epoch = self._epochs.get((channel, epoch_ns))
        return IdSet() if epoch is None else epoch.sets.get(state, IdSet())

    def totals(self, scan: str | None = None) -> dict[str, int]:
        """Return how many frames are in each state, and each count, over all epochs, or over those of a scan."""
        result: Counter[str] = Counter()
        for epoch in self._epochs.values():
            if scan is None or epoch.scan == scan:
                result.update({state: len(ids) for state, ids in epoch.sets.items()})
                result.update(epoch.counts)
        return dict(result)

    def to_json(self) -> dict[str, Any]:
        """Return the book as JSON values."""
        with self._lock:
            return {
                "epochs": [
                    {
                        "channel": channel,
                        "epoch_ns": epoch_ns,
                        "scan": epoch.scan,
                        "sets": {state: ids.ranges() for state, ids in epoch.sets.items()},
                        "counts": dict(epoch.counts),
                    }
                    for (channel, epoch_ns), epoch in self._epochs.items()
                ]
            }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LedgerBook:
        """Return the book that `to_json` made the document of; further keys are left alone.

        Raises
        ------
        ValueError
            If the document is of another form.
        """
        book = cls()
        try:
            for page in document["epochs"]:
                epoch = book._epoch(str(page["channel"]), int(page["epoch_ns"]))
                epoch.scan = str(page["scan"])
                for state, ranges in page["sets"].items():
                    epoch.sets.setdefault(state, IdSet()).update(IdSet.from_ranges(ranges))
                epoch.counts.update(page["counts"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"this is no ledger: {error!r} in {str(document)[:80]}") from error
        return book

    def _ids(self, channel: str, epoch_ns: int, scan: str, state: str) -> IdSet:
        epoch = self._epoch(channel, epoch_ns)
        if not epoch.scan:
            epoch.scan = scan
        ids = epoch.sets.get(state)
        if ids is None:
            ids = epoch.sets[state] = IdSet()
        return ids

    def _epoch(self, channel: str, epoch_ns: int) -> Epoch:
        key = (channel, epoch_ns)
        epoch = self._epochs.get(key)
        if epoch is None:
            epoch = self._epochs[key] = Epoch()
        return epoch
