"""Matching the entries of all pages to the epochs of the detector.

Each reader names an epoch after the first frame that it received. Readers that joined one epoch at different frames
therefore use different names for it, and a reader may be killed before it has written what its messages
reported to the sinks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.ledger.id_set import IdSet
from charon.ledger.pages import SinkPage, SourcePage, vertex_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charon.ledger.pages import Page


@dataclass(slots=True)
class _NamedEpoch:
    """Contents of all pages under one name of an epoch."""

    channel: str
    epoch_ns: int
    readers: set[int] = field(default_factory=set[int])
    source: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    sinks: dict[str, dict[str, IdSet]] = field(default_factory=dict[str, dict[str, IdSet]])

    def first(self) -> int | None:
        """Return the smallest number, from a source's page if there is one: that frame gave the epoch its name."""
        for states in (self.source, *self.sinks.values()):
            numbers = [next(iter(ids)) for ids in states.values() if ids]
            if numbers:
                return min(numbers)
        return None

    def at_sinks(self) -> IdSet:
        """Return the frames that a sink has received under this name."""
        return IdSet().union(*(ids for states in self.sinks.values() for ids in states.values()))


@dataclass(slots=True)
class Epoch:
    """Frames of one epoch of the detector, from all pages.

    Parameters
    ----------
    channel
        Name of the channel.
    names
        The names under which readers wrote it.
    source
        Frames by state, as the sources wrote them.
    sinks
        Frames by state for each sink.
    """

    channel: str
    names: list[_NamedEpoch]
    source: dict[str, IdSet] = field(default_factory=dict[str, IdSet])
    sinks: dict[str, dict[str, IdSet]] = field(default_factory=dict[str, dict[str, IdSet]])

    def add(self, name: _NamedEpoch) -> None:
        """Add the frames of another name of this epoch."""
        self.names.append(name)
        _merge(self.source, name.source)
        for vertex, states in name.sinks.items():
            _merge(self.sinks.setdefault(vertex, {}), states)


def match_epochs(pages: Mapping[str, Page]) -> list[Epoch]:
    """Return the epochs of the detector that the pages describe.

    Parameters
    ----------
    pages
        Pages by ``vertex.replica``.
    """
    epochs: list[Epoch] = []
    latest: dict[str, Epoch] = {}
    for name in sorted(_named_epochs(pages), key=lambda name: (name.channel, name.epoch_ns)):
        epoch = latest.get(name.channel)
        if epoch is None or _is_later_epoch(epoch, name):
            epoch = latest[name.channel] = Epoch(name.channel, [])
            epochs.append(epoch)
        epoch.add(name)
    return epochs


def _named_epochs(pages: Mapping[str, Page]) -> Iterable[_NamedEpoch]:
    names: dict[tuple[str, int], _NamedEpoch] = {}
    for reader, (key, page) in enumerate(pages.items()):
        for entry in page.entries:
            name = names.setdefault((entry.channel, entry.epoch_ns), _NamedEpoch(entry.channel, entry.epoch_ns))
            if isinstance(page, SourcePage):
                name.readers.add(reader)
                _merge(name.source, entry.sets)
            elif isinstance(page, SinkPage):
                _merge(name.sinks.setdefault(vertex_of(key), {}), entry.sets)
    return names.values()


def _is_later_epoch(epoch: Epoch, name: _NamedEpoch) -> bool:
    """Return whether the name belongs to a later epoch, after a restart of the detector."""
    if any(name.readers & earlier.readers for earlier in epoch.names):
        # The same reader distinguished the two.
        return True
    first = name.first()
    if first is None:
        return False
    # Within an epoch, the numbers of the frames that gave the names increase with time. Only a reader's page is
    # certain to contain that number; a sink may have received later frames only.
    if any(
        number is not None and first <= number for number in (known.first() for known in epoch.names if known.readers)
    ):
        return True
    if name.readers and all(earlier.readers for earlier in epoch.names):
        return False
    # If a reader's page is missing: a sink stores a frame under one name only, so a number that it has stored under
    # two names belongs to two frames.
    stored = name.at_sinks()
    return any(len(stored.minus(earlier.at_sinks())) < len(stored) for earlier in epoch.names)


def _merge(states: dict[str, IdSet], added: Mapping[str, IdSet]) -> None:
    for state, ids in added.items():
        states[state] = states[state].union(ids) if state in states else ids
