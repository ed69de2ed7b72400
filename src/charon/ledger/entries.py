"""Entries of a page of the ledger: the frames of one epoch, by state."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, cast

from charon.frames.fields import integer, integers, mapping, sequence, text
from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerEntry:
    """Frames of one epoch that a vertex has processed.

    Parameters
    ----------
    channel
        Name of the frames' channel.
    epoch_ns
        Name of the epoch: the detector time of its first frame as its reader received it.
    scan
        Name of the first scan of the epoch.
    sets
        ``uniqueId`` of the frames by state: see `FrameState` and `rejected_state`.
    counts
        Events that are counted without frame ids, such as ``duplicates``.
    """

    channel: str
    epoch_ns: int
    scan: str = ""
    sets: Mapping[str, IdSet] = field(default_factory=dict[str, IdSet])
    counts: Mapping[str, int] = field(default_factory=dict[str, int])

    def to_json(self) -> dict[str, object]:
        """Return the entry as JSON values, with the sets as closed ranges."""
        return {
            "channel": self.channel,
            "epoch_ns": self.epoch_ns,
            "scan": self.scan,
            "sets": {state: ids.ranges() for state, ids in self.sets.items()},
            "counts": dict(self.counts),
        }

    @classmethod
    def from_json(cls, document: object) -> LedgerEntry:
        """Return the entry that `to_json` returned.

        Raises
        ------
        KeyError, TypeError, ValueError
            If the document is not an entry.
        """
        fields = mapping(document, "an entry of the ledger")
        sets = mapping(fields["sets"], "sets")
        return cls(
            channel=text(fields, "channel"),
            epoch_ns=integer(fields, "epoch_ns"),
            scan=text(fields, "scan", ""),
            sets={state: _ids(state, ranges) for state, ranges in sets.items()},
            counts=integers(fields, "counts"),
        )


def entries_to_json(entries: Iterable[LedgerEntry]) -> dict[str, object]:
    """Return the entries of a page as JSON values."""
    return {"epochs": [entry.to_json() for entry in entries]}


def entries_from_json(document: object) -> tuple[LedgerEntry, ...]:
    """Return the entries that `entries_to_json` returned.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the document does not contain entries.
    """
    epochs = mapping(document, "ledger").get("epochs", [])
    return tuple(LedgerEntry.from_json(epoch) for epoch in sequence(epochs, "epochs"))


def _ids(state: str, ranges: object) -> IdSet:
    # Check all ranges at once: a page may contain a hundred thousand, and a call for each is slow.
    pairs = cast("list[list[int]]", sequence(ranges, state))
    if not set(map(type, chain.from_iterable(pairs))) <= {int}:
        raise TypeError(f"{state} contains a range that is not a pair of integers")
    return IdSet.from_ranges(pairs)
