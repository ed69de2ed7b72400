"""The account of a run: where every frame that the detector published has gone.

Frames are compared as sets of numbers, not by counters: counters drift when processes die, and two
readers of one channel would count everything twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from charon.frames.idset import IdSet

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
class _Epoch:
    """What all pages together say of one run of rising uniqueId."""

    channel: str
    names_ns: set[int]
    source: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    sinks: dict[str, dict[str, IdSet]] = field(default_factory=dict[str, dict[str, IdSet]])

    def first(self) -> int:
        return min((ids.ranges()[0][0] for ids in self.source.values() if ids), default=0)


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
    missed = seen.gaps().union(epoch.source.get("missed", none).minus(accepted))
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

    Readers that joined one epoch at different frames name it by different times. Two names stand for two
    epochs where one reader has seen both; else the later name with later numbers is the same epoch.
    """
    apart = [{(e["channel"], e["epoch_ns"]) for e in _entries(page)} for page in sources]
    epochs: list[_Epoch] = []
    ordered = [(page, entry) for group in (sources, sinks) for page in group for entry in _entries(page)]
    ordered.sort(key=lambda pair: (pair[0]["kind"] != "source", pair[1]["channel"], pair[1]["epoch_ns"]))
    for page, entry in ordered:
        sets = {name: IdSet.from_ranges(ranges) for name, ranges in entry["sets"].items()}
        epoch = _home(epochs, entry, sets, apart)
        if epoch is None:
            epoch = _Epoch(entry["channel"], set())
            epochs.append(epoch)
        epoch.names_ns.add(entry["epoch_ns"])
        states = epoch.source if page["kind"] == "source" else epoch.sinks.setdefault(str(page["vertex"]), {})
        for name, ids in sets.items():
            states[name] = states[name].union(ids) if name in states else ids
    return epochs


def _home(
    epochs: Sequence[_Epoch],
    entry: Mapping[str, Any],
    sets: Mapping[str, IdSet],
    apart: Sequence[set[tuple[str, int]]],
) -> _Epoch | None:
    channel, name = entry["channel"], entry["epoch_ns"]
    same_channel = [epoch for epoch in epochs if epoch.channel == channel]
    for epoch in same_channel:
        if name in epoch.names_ns:
            return epoch
    if not same_channel:
        return None
    latest = max(same_channel, key=lambda epoch: max(epoch.names_ns))
    first = min((ids.ranges()[0][0] for ids in sets.values() if ids), default=0)
    seen_both = any(
        (channel, name) in names and (channel, other) in names for names in apart for other in latest.names_ns
    )
    return None if seen_both or first < latest.first() else latest


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
