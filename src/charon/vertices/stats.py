"""What every vertex tells of itself while it runs, and the loops that are the same for all."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.vertices.ports import Ledger

_log = logging.getLogger(__name__)
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(slots=True)
class Stats:
    """Counters of one replica since it started; the account of frames does not rest on them."""

    counts: Counter[str] = field(default_factory=Counter[str])
    batches: Counter[int] = field(default_factory=Counter[int])
    busy_s: float = 0.0
    state: str = "starting"
    started_ns: int = field(default_factory=time.time_ns)
    _rss: tuple[float, int] = (0.0, 0)
    _warnings: deque[str] = field(default_factory=lambda: deque[str](maxlen=5))

    def count(self, what: str, n: int = 1) -> None:
        """Count something."""
        self.counts[what] += n

    def warn(self, text: str) -> None:
        """Log something that the user should see, and show it in the status; a repeat is only counted."""
        if text not in self._warnings:
            self._warnings.append(text)
            _log.warning("%s", text)

    def _resident(self) -> int:
        # Pages are written many times a second; memory changes slower than that.
        now = time.monotonic()
        if now - self._rss[0] > 1.0:
            self._rss = (now, resident_bytes())
        return self._rss[1]

    def document(self) -> dict[str, Any]:
        """Return the counters as JSON values."""
        return {
            "pid": os.getpid(),
            "state": self.state,
            "started_ns": self.started_ns,
            "updated_ns": time.time_ns(),
            "rss_bytes": self._resident(),
            "counts": dict(self.counts),
            "batches": {str(size): n for size, n in sorted(self.batches.items())},
            "busy_s": round(self.busy_s, 4),
            "cpu_s": round(time.process_time(), 3),
            "warnings": list(self._warnings),
        }


def resident_bytes() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


async def write_ledger_periodically(
    document: Callable[[], dict[str, Any]], ledger: Ledger, stop: asyncio.Event, period_s: float = 0.25
) -> None:
    """Write the document every so often until told to stop, and once more then.

    A document that has become large is written less often: the vertex has other things to do.
    """
    last, took_s = False, 0.0
    while not last:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(period_s, 20 * took_s))
        # Not after it was written: what was done in the meantime would not be in it.
        last, began = stop.is_set(), time.thread_time()
        page = document()
        took_s = time.thread_time() - began
        try:
            await ledger.save(page)
        except UnavailableError as error:
            _log.debug("the ledger waits: %s", error)
