"""Detection of the end of a run, when no frame is in flight."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.ledger.pages import waiting_in_rings

if TYPE_CHECKING:
    from charon.engines.embedded import Snapshot


class CompletionDetector:
    """Detects from successive snapshots that no frame is in flight.

    If a buffer in memory was lost with its server, its frames stay in flight forever; the run then counts as
    complete when nothing waits in a buffer and nothing has changed for `idle_timeout_s`.

    Parameters
    ----------
    idle_timeout_s
        Time without a change after which frames in flight are considered lost.
    """

    def __init__(self, idle_timeout_s: float = 15.0) -> None:
        self._idle_timeout_ns = idle_timeout_s * 1e9
        self._last = (-1, -1)
        self._since_ns = 0

    def __call__(self, snapshot: Snapshot) -> bool:
        """Return whether no frame is in flight at the time of the next snapshot."""
        account = snapshot.account
        if account.in_flight == 0:
            return True
        waiting = any(edge.waiting for edge in snapshot.edges.values())
        waiting |= waiting_in_rings(snapshot.pages.values()) > 0
        current = (account.published, account.in_flight)
        if waiting or current != self._last:
            self._last, self._since_ns = current, snapshot.time_ns
            return False
        return snapshot.time_ns - self._since_ns > self._idle_timeout_ns
