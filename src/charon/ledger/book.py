"""Record of the frames that a vertex has processed, by frame id and state."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class _Epoch:
    """Frames of one epoch; `scan` is the name of its first scan."""

    scan: str = ""
    sets: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    counts: Counter[str] = field(default_factory=Counter[str])


class LedgerBook:
    """Sets of ``uniqueId`` by channel, epoch and state; its size depends on the gaps, not on the number of frames.

    One thread may add and count while another reads the entries.
    """

    def __init__(self) -> None:
        self._epochs: dict[tuple[str, int], _Epoch] = {}
        self._lock = threading.Lock()

    def add(self, channel: str, epoch_ns: int, scan: str, state: str, unique_id: int) -> bool:
        """Add a frame to a state; return False if the frame was already in that state."""
        with self._lock:
            return self._ids(channel, epoch_ns, scan, state).add(unique_id)

    def add_range(self, channel: str, epoch_ns: int, scan: str, state: str, numbers: tuple[int, int]) -> None:
        """Add consecutive frames to a state.

        Parameters
        ----------
        channel, epoch_ns, scan
            The epoch of the frames, and their scan.
        state
            The state that they have reached.
        numbers
            ``uniqueId`` of the first and of the last frame.
        """
        with self._lock:
            self._ids(channel, epoch_ns, scan, state).add_range(*numbers)

    def count(self, channel: str, epoch_ns: int, key: str, n: int = 1) -> None:
        """Count an event that needs no frame id."""
        with self._lock:
            self._epoch(channel, epoch_ns).counts[key] += n

    def ids(self, channel: str, epoch_ns: int, state: str) -> IdSet:
        """Return the frames in a state."""
        epoch = self._epochs.get((channel, epoch_ns))
        return IdSet() if epoch is None else epoch.sets.get(state, IdSet())

    def totals(self, scan: str | None = None) -> dict[str, int]:
        """Return the number of frames in each state, and each count, of one scan or of all."""
        result: Counter[str] = Counter()
        for epoch in self._epochs.values():
            if scan is None or epoch.scan == scan:
                result.update({state: len(ids) for state, ids in epoch.sets.items()})
                result.update(epoch.counts)
        return dict(result)

    def entries(self) -> tuple[LedgerEntry, ...]:
        """Return a copy of the contents, in the order in which the epochs were added."""
        with self._lock:
            return tuple(
                LedgerEntry(
                    channel=channel,
                    epoch_ns=epoch_ns,
                    scan=epoch.scan,
                    sets={state: ids.copy() for state, ids in epoch.sets.items()},
                    counts=dict(epoch.counts),
                )
                for (channel, epoch_ns), epoch in self._epochs.items()
            )

    @classmethod
    def from_entries(cls, entries: Iterable[LedgerEntry]) -> LedgerBook:
        """Return a book with the contents of a page's entries."""
        book = cls()
        for entry in entries:
            epoch = book._epoch(entry.channel, entry.epoch_ns)
            epoch.scan = epoch.scan or entry.scan
            for state, ids in entry.sets.items():
                epoch.sets.setdefault(state, IdSet()).update(ids)
            epoch.counts.update(entry.counts)
        return book

    def _ids(self, channel: str, epoch_ns: int, scan: str, state: str) -> IdSet:
        epoch = self._epoch(channel, epoch_ns)
        if not epoch.scan:
            epoch.scan = scan
        ids = epoch.sets.get(state)
        if ids is None:
            ids = epoch.sets[state] = IdSet()
        return ids

    def _epoch(self, channel: str, epoch_ns: int) -> _Epoch:
        key = (channel, epoch_ns)
        epoch = self._epochs.get(key)
        if epoch is None:
            epoch = self._epochs[key] = _Epoch()
        return epoch
