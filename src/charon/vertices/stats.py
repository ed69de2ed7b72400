"""Counters, state and warnings of a vertex's process."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from charon.ledger.process import ProcessStats
from charon.ledger.states import VertexState

_log = logging.getLogger(__name__)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Stats:
    """Counters of one replica since it started; the account of frames does not depend on them."""

    counts: Counter[str] = field(default_factory=Counter[str])
    batches: Counter[int] = field(default_factory=Counter[int])
    busy_s: float = 0.0
    state: VertexState = VertexState.STARTING
    started_ns: int = field(default_factory=time.time_ns)
    _rss: tuple[float, int] = (0.0, 0)
    _warnings: deque[str] = field(default_factory=lambda: deque[str](maxlen=5))

    def count(self, event: str, n: int = 1) -> None:
        """Count an event."""
        self.counts[event] += n

    def warn(self, text: str) -> None:
        """Log a warning and add it to the page of the ledger, unless the page already contains it."""
        if text not in self._warnings:
            self._warnings.append(text)
            _log.warning("%s", text)

    def _resident(self) -> int:
        # Read once per second: pages are written more often than the memory changes.
        now = time.monotonic()
        if now - self._rss[0] > 1.0:
            self._rss = (now, resident_bytes())
        return self._rss[1]

    def snapshot(self) -> ProcessStats:
        """Return a copy of the counters for the page of the ledger."""
        return ProcessStats(
            state=self.state,
            pid=os.getpid(),
            started_ns=self.started_ns,
            updated_ns=time.time_ns(),
            rss_bytes=self._resident(),
            counts=dict(self.counts),
            batches=dict(self.batches),
            busy_s=self.busy_s,
            cpu_s=time.process_time(),
            warnings=tuple(self._warnings),
        )


def resident_bytes() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
