"""Counters of a vertex's process, as its page of the ledger contains them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.frames.fields import Fields, integer, integers, number, sequence, text
from charon.ledger.states import VertexState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessStats:
    """Counters of a vertex's process; the account of frames does not depend on them.

    Parameters
    ----------
    state
        Phase of the process.
    pid
        Process id.
    started_ns, updated_ns
        Times of the process's start and of these values, ns since 1970.
    rss_bytes
        Resident memory.
    counts
        Events by name, such as ``done``.
    batches
        Number of batches by their size.
    busy_s, cpu_s
        Time spent processing frames, and CPU time of the process.
    warnings
        The latest warnings, oldest first.
    """

    state: VertexState = VertexState.STARTING
    pid: int = 0
    started_ns: int = 0
    updated_ns: int = 0
    rss_bytes: int = 0
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    batches: Mapping[int, int] = field(default_factory=dict[int, int])
    busy_s: float = 0.0
    cpu_s: float = 0.0
    warnings: Sequence[str] = ()

    def to_json(self) -> dict[str, object]:
        """Return the counters as JSON values."""
        return {
            "pid": self.pid,
            "state": self.state.value,
            "started_ns": self.started_ns,
            "updated_ns": self.updated_ns,
            "rss_bytes": self.rss_bytes,
            "counts": dict(self.counts),
            "batches": {str(size): n for size, n in sorted(self.batches.items())},
            "busy_s": round(self.busy_s, 4),
            "cpu_s": round(self.cpu_s, 3),
            "warnings": list(self.warnings),
        }

    @classmethod
    def from_json(cls, fields: Fields) -> ProcessStats:
        """Return the counters that `to_json` returned."""
        return cls(
            state=VertexState(text(fields, "state")),
            pid=integer(fields, "pid", 0),
            started_ns=integer(fields, "started_ns", 0),
            updated_ns=integer(fields, "updated_ns", 0),
            rss_bytes=integer(fields, "rss_bytes", 0),
            counts=integers(fields, "counts"),
            batches={int(size): n for size, n in integers(fields, "batches").items()},
            busy_s=number(fields, "busy_s", 0.0),
            cpu_s=number(fields, "cpu_s", 0.0),
            warnings=tuple(str(line) for line in sequence(fields["warnings"], "warnings")),
        )
