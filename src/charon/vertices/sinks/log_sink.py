"""The guide's log sink: one line a patch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from charon.frames import LatePosition, Patch, Rejection, WireError
from charon.ledger.book import LedgerBook
from charon.ledger.sink_report import SinkReport
from charon.ledger.states import FrameState, rejected_state
from charon.vertices.seen_ids import SeenIds
from charon.vertices.sinks.sink import Accepted, opened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.ledger.entries import LedgerEntry

_log = logging.getLogger(__name__)


class LogSink:
    """Writes a line for each patch and each rejection, and counts them; it keeps nothing.

    What it knows ends with its process, but for the account, which its successor goes on with: a repeat
    after a restart is logged again and counted once.

    Parameters
    ----------
    quiet
        Count only, write no line.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._level = logging.DEBUG if quiet else logging.INFO
        self._names = SeenIds()
        self._book = LedgerBook()
        self._unreadable = 0

    def accept(self, messages: Sequence[bytes]) -> Accepted:
        """Log each message that is new."""
        counts = {"reconstructed": 0, "rejected": 0, "positions": 0, "duplicates": 0, "unreadable": 0}
        for payload in messages:
            try:
                counts[self._accept(opened(payload))] += 1
            except WireError as error:
                _log.error("set aside a message that cannot be read: %s", error)
                counts["unreadable"] += 1
        self._unreadable += counts["unreadable"]
        return Accepted(**counts)

    def _accept(self, message: Patch | Rejection | LatePosition) -> str:
        if isinstance(message, LatePosition):
            return "positions"
        frame = message.id
        if not self._names.add(frame):
            self._book.count(frame.channel, frame.epoch_ns, "duplicates")
            return "duplicates"
        if isinstance(message, Patch):
            self._book.add(frame.channel, frame.epoch_ns, message.scan, FrameState.RECONSTRUCTED, frame.unique_id)
            if _log.isEnabledFor(self._level):
                _log.log(self._level, "patch %s scan=%s %s", frame.name, message.scan, _described(message))
            return "reconstructed"
        self._book.add(frame.channel, frame.epoch_ns, message.scan, rejected_state(message.reason), frame.unique_id)
        _log.log(self._level, "rejected %s by %s: %s: %s", frame.name, message.vertex, message.reason, message.detail)
        return "rejected"

    def restore(self, entries: Sequence[LedgerEntry]) -> None:
        """Continue the account of a previous process."""
        self._book = LedgerBook.from_entries(entries)

    def tick(self) -> None:
        """Do nothing: a log has no picture to refresh."""

    def close(self) -> None:
        """Do nothing: the log belongs to the process."""

    def report(self) -> SinkReport:
        """Return the frames that were logged."""
        return SinkReport(sink="log", entries=self._book.entries(), unreadable=self._unreadable)


def _described(patch: Patch) -> str:
    where = "nowhere yet" if patch.position_m is None else f"({patch.position_m[0]:.9g}, {patch.position_m[1]:.9g}) m"
    rows, columns = patch.phase.shape
    low, high = float(patch.phase.min()), float(patch.phase.max())
    return f"{rows}x{columns} at {where} phase {low:.3f} to {high:.3f} rad by {patch.model}"
