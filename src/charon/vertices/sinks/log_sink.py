"""The log sink: writes one log line for each patch."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, ClassVar

from charon.frames import LatePosition, Patch, Rejection, WireError
from charon.ledger.book import LedgerBook
from charon.ledger.sink_report import SinkReport
from charon.ledger.states import FrameState, rejected_state
from charon.vertices.seen_ids import SeenIds
from charon.vertices.sinks.sink import BatchCounts, decode_for_sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.ledger.entries import LedgerEntry
    from charon.vertices.sinks.sink import SinkMessage

_log = logging.getLogger(__name__)


class LogSink:
    """Logs each patch and each rejection, and counts them; it stores nothing.

    After a restart only the account is restored: a redelivered frame is then logged again, but counted once.

    Parameters
    ----------
    quiet
        Log at level DEBUG instead of INFO.
    """

    is_durable: ClassVar[bool] = False

    def __init__(self, *, quiet: bool = False) -> None:
        self._level = logging.DEBUG if quiet else logging.INFO
        self._frames = SeenIds()
        self._book = LedgerBook()
        self._unreadable = 0

    def restore(self, entries: Sequence[LedgerEntry]) -> None:
        """Resume the account of a previous process."""
        self._book = LedgerBook.from_entries(entries)

    def accept(self, messages: Sequence[bytes]) -> BatchCounts:
        """Log each message that is new."""
        counts = {"reconstructed": 0, "rejected": 0, "positions": 0, "duplicates": 0, "unreadable": 0}
        for payload in messages:
            try:
                counts[self._accept(decode_for_sink(payload))] += 1
            except WireError as error:
                _log.error("skipped an invalid message: %s", error)
                counts["unreadable"] += 1
        self._unreadable += counts["unreadable"]
        return BatchCounts(**counts)

    def tick(self) -> None:
        """Do nothing: a log needs no periodic work."""

    def close(self) -> None:
        """Do nothing: the log belongs to the process."""

    def report(self) -> SinkReport:
        """Return the account of frames."""
        return SinkReport(sink="log", entries=self._book.entries(), unreadable=self._unreadable)

    def _accept(self, message: SinkMessage) -> str:
        """Log a message; return the field of `BatchCounts` to increment."""
        if isinstance(message, LatePosition):
            return "positions"
        frame = message.id
        if not self._frames.add(frame):
            self._book.count(frame.channel, frame.epoch_ns, "duplicates")
            return "duplicates"
        if isinstance(message, Patch):
            self._book.add(frame.channel, frame.epoch_ns, message.scan, FrameState.RECONSTRUCTED, frame.unique_id)
            if _log.isEnabledFor(self._level):
                _log.log(self._level, "patch %s scan=%s %s", frame.name, message.scan, _summary(message))
            return "reconstructed"
        self._reject(message)
        return "rejected"

    def _reject(self, message: Rejection) -> None:
        frame = message.id
        self._book.add(frame.channel, frame.epoch_ns, message.scan, rejected_state(message.reason), frame.unique_id)
        _log.log(self._level, "rejected %s by %s: %s: %s", frame.name, message.vertex, message.reason, message.detail)


def _summary(patch: Patch) -> str:
    position = "unknown position"
    if patch.position_m is not None:
        position = f"({patch.position_m[0]:.9g}, {patch.position_m[1]:.9g}) m"
    rows, columns = patch.phase.shape
    low, high = float(patch.phase.min()), float(patch.phase.max())
    return f"{rows}x{columns} at {position} phase {low:.3f} to {high:.3f} rad by {patch.model}"
