"""The account of a run: the number of frames in each final or current state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Account:
    """Number of frames of a run by state.

    The numbers add up: ``published = missed + reconstructed + rejected + in_flight + lost``.

    Parameters
    ----------
    published
        Frames that the detector published: those that a source received, and those whose numbers are missing
        between received ones.
    missed
        Published frames that never reached a buffer.
    accepted
        Frames that the buffer confirmed, whatever their current state.
    rejected
        Rejected frames by reason.
    in_flight
        Frames that were seen and have no final state yet.
    lost
        Accepted frames that were neither reconstructed nor rejected when the run ended.
    reconstructed
        Frames whose patch every sink has stored.
    duplicates
        Repeats that were recognised and not counted again.
    missed_ids, lost_ids
        Missed and lost frames by channel, as ranges of ``uniqueId``.
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
        """Whether every published frame is in exactly one state."""
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
