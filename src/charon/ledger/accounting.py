"""Computation of the account of a run from the pages of its ledger.

Frames are compared as sets of numbers, not by counters: counters drift when processes are killed, and two readers
of one channel would count every frame twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.ledger.account import Account
from charon.ledger.epoch_matching import match_epochs
from charon.ledger.id_set import IdSet
from charon.ledger.pages import SinkPage, SourcePage, vertex_of
from charon.ledger.states import FrameState, rejection_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charon.ledger.epoch_matching import Epoch
    from charon.ledger.pages import Page


def compute_account(pages: Mapping[str, Page], *, ended: bool) -> Account:
    """Return the account of a run.

    Parameters
    ----------
    pages
        Pages by ``vertex.replica``.
    ended
        Whether the run has drained: then a frame without a final state is lost instead of in flight.
    """
    sinks = {vertex_of(key) for key, page in pages.items() if isinstance(page, SinkPage)}
    epochs = [_epoch_account(epoch, sinks, ended=ended) for epoch in match_epochs(pages)]
    return Account(
        published=sum(len(epoch.published) for epoch in epochs),
        missed=sum(len(epoch.missed) for epoch in epochs),
        accepted=sum(len(epoch.accepted) for epoch in epochs),
        rejected=_sum_by_reason(epochs),
        in_flight=0 if ended else sum(len(epoch.open) for epoch in epochs),
        lost=sum(len(epoch.open) for epoch in epochs) if ended else 0,
        reconstructed=sum(len(epoch.reconstructed) for epoch in epochs),
        duplicates=_duplicates(pages),
        missed_ids=_by_channel((epoch.channel, epoch.missed) for epoch in epochs),
        lost_ids=_by_channel((epoch.channel, epoch.open) for epoch in epochs) if ended else {},
    )


@dataclass(frozen=True, slots=True)
class _EpochAccount:
    """Frames of one epoch by state; `open` contains the frames without a final state."""

    channel: str
    published: IdSet
    missed: IdSet
    accepted: IdSet
    reconstructed: IdSet
    rejected: dict[str, IdSet]
    open: IdSet


def _epoch_account(epoch: Epoch, sinks: set[str], *, ended: bool) -> _EpochAccount:
    none = IdSet()
    stored = [epoch.sinks.get(vertex, {}).get(FrameState.RECONSTRUCTED, none) for vertex in sinks]
    # A frame is reconstructed once every sink has stored its patch.
    reconstructed = none.union(*stored)
    for ids in stored:
        reconstructed = reconstructed.minus(reconstructed.minus(ids))
    states = [epoch.source, *epoch.sinks.values()]
    rejected = _rejected(states, reconstructed)
    final = reconstructed.union(*rejected.values())
    seen = none.union(*(ids for state in states for ids in state.values()))
    accepted = epoch.source.get(FrameState.ACCEPTED, none).union(final, *stored)
    received = epoch.source.get(FrameState.SEEN, none).union(accepted)
    missed = seen.gaps().union(epoch.source.get(FrameState.MISSED, none).minus(received))
    if ended:
        # The source ended before the buffer had confirmed these frames.
        missed = missed.union(seen.minus(accepted))
    published = seen.union(missed)
    return _EpochAccount(
        epoch.channel, published, missed, accepted, reconstructed, rejected, published.minus(final).minus(missed)
    )


def _rejected(states: Iterable[Mapping[str, IdSet]], reconstructed: IdSet) -> dict[str, IdSet]:
    """Return the rejected frames by reason, each under one reason only."""
    rejected: dict[str, IdSet] = {}
    counted = reconstructed
    for state in states:
        for name, ids in state.items():
            reason = rejection_reason(name)
            if reason is not None:
                new = ids.minus(counted)
                rejected[reason] = rejected.get(reason, IdSet()).union(new)
                counted = counted.union(new)
    return {reason: ids for reason, ids in rejected.items() if ids}


def _sum_by_reason(epochs: Iterable[_EpochAccount]) -> dict[str, int]:
    total: dict[str, int] = {}
    for epoch in epochs:
        for reason, ids in epoch.rejected.items():
            total[reason] = total.get(reason, 0) + len(ids)
    return total


def _by_channel(ids_by_epoch: Iterable[tuple[str, IdSet]]) -> dict[str, list[list[int]]]:
    result: dict[str, list[list[int]]] = {}
    for channel, ids in ids_by_epoch:
        if ids:
            result.setdefault(channel, []).extend(ids.ranges())
    return result


def _duplicates(pages: Mapping[str, Page]) -> int:
    """Return the number of recognised repeats: at the buffer, plus those at the sink that saw most of them."""
    redundant = 0
    by_sink: dict[str, int] = {}
    for key, page in pages.items():
        if isinstance(page, SourcePage):
            redundant += sum(entry.counts.get("redundant", 0) for entry in page.entries)
        elif isinstance(page, SinkPage):
            vertex = vertex_of(key)
            repeats = sum(entry.counts.get("duplicates", 0) for entry in page.entries)
            by_sink[vertex] = by_sink.get(vertex, 0) + repeats
    return redundant + max(by_sink.values(), default=0)
