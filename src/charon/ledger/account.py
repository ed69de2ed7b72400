"""The account of a run: where every frame that the detector published has gone.

Frames are compared as sets of numbers, not by counters: counters drift when processes die, and two
readers of one channel would count everything twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_REJECTED = "rejected:"


@dataclass(frozen=True, slots=True)
class Account:
    """Where the frames of a run are.

    The numbers add up: ``published = missed + reconstructed + rejected + in_flight + lost``.

    Parameters
    ----------
    published
        Frames that the detector is known to have published: those that a source saw, and those
        whose numbers are missing between the ones seen.
    missed
        Published frames that never reached a buffer.
    accepted
        Frames that the buffer confirmed, whatever became of them.
    rejected
        Frames set aside, by reason.
    in_flight
        Frames seen whose end is not known yet.
    lost
        Accepted frames that are neither result nor rejection although the run has ended.
    reconstructed
        Frames whose patch every sink has.
    duplicates
        Repeats that were recognised and not counted.
    missed_ids, lost_ids
        Which, as ranges of uniqueId by channel.
    """

    published: int
    missed: int
    accepted: int
    rejected: Mapping[str, int]
    in_flight: int
    lost: int
    reconstructed: int
    duplicates: int
    missed_ids: Mapping[str, list[list[int]]] = field(default_factory=dict[str, list[list[int]]])
    lost_ids: Mapping[str, list[list[int]]] = field(default_factory=dict[str, list[list[int]]])

    @property
    def adds_up(self) -> bool:
        """Whether every published frame is in exactly one place."""
        total = self.missed + self.reconstructed + sum(self.rejected.values()) + self.in_flight + self.lost
        return total == self.published

    def to_json(self) -> dict[str, Any]:
        """Return the account as JSON values."""
        return {
            "published": self.published,
            "missed": self.missed,
            "accepted": self.accepted,
            "rejected": sum(self.rejected.values()),
            "rejected_by_reason": dict(self.rejected),
            "in_flight": self.in_flight,
            "lost": self.lost,
            "duplicates": self.duplicates,
            "reconstructed": self.reconstructed,
            "missed_ids": dict(self.missed_ids),
            "lost_ids": dict(self.lost_ids),
        }


def settle(pages: Iterable[Mapping[str, Any]], *, ended: bool) -> Account:
    """Return the account that the pages of a ledger give together.

    Parameters
    ----------
    pages
        One document a replica: ``{"kind": "source" | "sink", "vertex": name, "ledger": {"epochs": [...]}}``; an
        epoch is ``{"channel", "epoch_ns", "sets", "counts"}``, and its sets map a state (``seen``, ``missed``,
        ``accepted``, ``reconstructed``, ``rejected:<reason>``) to ranges of uniqueId.
    ended
        Whether the run has drained: what is accepted and has no end then is lost, not in flight.
    """
    pages = list(pages)
    sources = [page for page in pages if page.get("kind") == "source"]
    sinks = [page for page in pages if page.get("kind") == "sink"]
    epochs = _epochs(sources, sinks)
    settled = [_settle_epoch(epoch, {str(p["vertex"]) for p in sinks}, ended=ended) for epoch in epochs]
    return Account(
        published=sum(len(s.published) for s in settled),
        missed=sum(len(s.missed) for s in settled),
        accepted=sum(len(s.accepted) for s in settled),
        rejected=_sum_by_reason(settled),
        in_flight=0 if ended else sum(len(s.open) for s in settled),
        lost=sum(len(s.open) for s in settled) if ended else 0,
        reconstructed=sum(len(s.reconstructed) for s in settled),
        duplicates=_duplicates(sources, sinks),
        missed_ids=_by_channel((s.channel, s.missed) for s in settled),
        lost_ids=_by_channel((s.channel, s.open) for s in settled) if ended else {},
    )


@dataclass(slots=True)
class _Name:
    """What all pages together say under one name of an epoch: the time at which a reader joined it."""

    channel: str
    epoch_ns: int
    readers: set[int] = field(default_factory=set[int])
    source: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    sinks: dict[str, dict[str, IdSet]] = field(default_factory=dict[str, dict[str, IdSet]])

    def first(self) -> int | None:
        """Return the number of the frame that the name is taken from, as far as it is known."""
        for states in (self.source, *self.sinks.values()):
            numbers = [ids.ranges()[0][0] for ids in states.values() if ids]
            if numbers:
                return min(numbers)
        return None

    def ended(self) -> IdSet:
        """Return the frames that a sink has had under this name."""
        return IdSet().union(*(ids for states in self.sinks.values() for ids in states.values()))


@dataclass(slots=True)
class _Epoch:
    """What all pages together say of one run of rising uniqueId."""

    channel: str
    names: list[_Name]
    source: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    sinks: dict[str, dict[str, IdSet]] = field(default_factory=dict[str, dict[str, IdSet]])

    def take(self, name: _Name) -> None:
        """Add what is known under one more name."""
        self.names.append(name)
        _merge(self.source, name.source)
        for vertex, states in name.sinks.items():
            _merge(self.sinks.setdefault(vertex, {}), states)


@dataclass(frozen=True, slots=True)
class _Settled:
    channel: str
    published: IdSet
    missed: IdSet
    accepted: IdSet
    reconstructed: IdSet
    rejected: dict[str, IdSet]
    open: IdSet


def _settle_epoch(epoch: _Epoch, vertices: set[str], *, ended: bool) -> _Settled:
    none = IdSet()
    results = [epoch.sinks.get(vertex, {}).get("reconstructed", none) for vertex in vertices]
    # A frame is a result when every sink has it; a sink that has not got it yet keeps it in flight.
    reconstructed = none.union(*results)
    for result in results:
        reconstructed = reconstructed.minus(reconstructed.minus(result))
    states = [epoch.source, *epoch.sinks.values()]
    rejected = _rejected(states, reconstructed)
    ends = reconstructed.union(*rejected.values())
    seen = none.union(*(ids for state in states for ids in state.values()))
    accepted = epoch.source.get("accepted", none).union(ends, *results)
    held = epoch.source.get("seen", none).union(accepted)
    missed = seen.gaps().union(epoch.source.get("missed", none).minus(held))
    if ended:
        # Seen by a source that ended before the buffer had it.
        missed = missed.union(seen.minus(accepted))
    published = seen.union(missed)
    return _Settled(
        epoch.channel, published, missed, accepted, reconstructed, rejected, published.minus(ends).minus(missed)
    )


def _rejected(states: Iterable[Mapping[str, IdSet]], reconstructed: IdSet) -> dict[str, IdSet]:
    """Return the frames set aside by reason, each under one reason only."""
    found: dict[str, IdSet] = {}
    taken = reconstructed
    for state in states:
        for name, ids in state.items():
            if name.startswith(_REJECTED):
                reason = name.removeprefix(_REJECTED)
                new = ids.minus(taken)
                found[reason] = found.get(reason, IdSet()).union(new)
                taken = taken.union(new)
    return {reason: ids for reason, ids in found.items() if ids}


def _epochs(sources: Sequence[Mapping[str, Any]], sinks: Sequence[Mapping[str, Any]]) -> list[_Epoch]:
    """Join the pages' entries to the detector's epochs.

    Readers that joined one epoch at different frames name it by different times. A reader may also have died
    before it wrote down what its messages told the sinks.
    """
    epochs: list[_Epoch] = []
    latest: dict[str, _Epoch] = {}
    for name in sorted(_names(sources, sinks), key=lambda name: (name.channel, name.epoch_ns)):
        epoch = latest.get(name.channel)
        if epoch is None or _apart(epoch, name):
            epoch = latest[name.channel] = _Epoch(name.channel, [])
            epochs.append(epoch)
        epoch.take(name)
    return epochs


def _names(sources: Sequence[Mapping[str, Any]], sinks: Sequence[Mapping[str, Any]]) -> Iterable[_Name]:
    """Collect what the pages say under each name."""
    names: dict[tuple[str, int], _Name] = {}
    for reader, page in enumerate((*sources, *sinks)):
        for entry in _entries(page):
            key = (str(entry["channel"]), int(entry["epoch_ns"]))
            name = names.setdefault(key, _Name(*key))
            if page["kind"] == "source":
                name.readers.add(reader)
                states = name.source
            else:
                states = name.sinks.setdefault(str(page["vertex"]), {})
            _merge(states, {state: IdSet.from_ranges(ranges) for state, ranges in entry["sets"].items()})
    return names.values()


def _apart(epoch: _Epoch, name: _Name) -> bool:
    """Return whether a later name stands for another epoch: one that a restart of the detector began."""
    if any(name.readers & earlier.readers for earlier in epoch.names):
        # One reader has told the two apart.
        return True
    first = name.first()
    if first is None:
        return False
    # Within an epoch numbers rise with time, and so do those of the frames that names are taken from. A reader
    # has written that number down; a sink may have had later ones only.
    if any(
        number is not None and first <= number for number in (known.first() for known in epoch.names if known.readers)
    ):
        return True
    if name.readers and all(earlier.readers for earlier in epoch.names):
        return False
    # Where a reader's page is lost: a sink takes a frame under one name only, so a number that it has under two
    # belongs to two frames.
    ended = name.ended()
    return any(len(ended.minus(earlier.ended())) < len(ended) for earlier in epoch.names)


def _merge(states: dict[str, IdSet], more: Mapping[str, IdSet]) -> None:
    for state, ids in more.items():
        states[state] = states[state].union(ids) if state in states else ids


def _entries(page: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(page.get("ledger", {}).get("epochs", ()))


def _sum_by_reason(settled: Iterable[_Settled]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in settled:
        for reason, ids in part.rejected.items():
            total[reason] = total.get(reason, 0) + len(ids)
    return total


def _by_channel(found: Iterable[tuple[str, IdSet]]) -> dict[str, list[list[int]]]:
    result: dict[str, list[list[int]]] = {}
    for channel, ids in found:
        if ids:
            result.setdefault(channel, []).extend(ids.ranges())
    return result


def _duplicates(sources: Iterable[Mapping[str, Any]], sinks: Iterable[Mapping[str, Any]]) -> int:
    """Return how many repeats were recognised: by the buffer, and by the sink that saw most of them."""
    redundant = sum(int(e.get("counts", {}).get("redundant", 0)) for page in sources for e in _entries(page))
    by_vertex: dict[str, int] = {}
    for page in sinks:
        n = sum(int(e.get("counts", {}).get("duplicates", 0)) for e in _entries(page))
        by_vertex[str(page["vertex"])] = by_vertex.get(str(page["vertex"]), 0) + n
    return redundant + max(by_vertex.values(), default=0)
