"""Interface of a sink, and the checks that every sink applies to a message."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from charon.frames import Frame, LatePosition, Patch, Rejection, WireError, decode
from charon.frames.fields import INT64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.ledger.entries import LedgerEntry
    from charon.ledger.sink_report import SinkReport

SinkMessage = Patch | Rejection | LatePosition
"""A message that a sink accepts."""


@dataclass(frozen=True, slots=True)
class BatchCounts:
    """Number of messages in one call of `Sink.accept`, by result.

    Parameters
    ----------
    reconstructed, rejected, positions
        New patches, rejections and late positions.
    duplicates
        Repeats of earlier messages.
    unreadable
        Invalid messages, which are logged and skipped.
    """

    reconstructed: int = 0
    rejected: int = 0
    positions: int = 0
    duplicates: int = 0
    unreadable: int = 0


class Sink(Protocol):
    """Last step of a pipeline: stores, shows or logs messages.

    All methods except `report` are called from one thread.
    """

    is_durable: ClassVar[bool]
    """Whether accepted messages survive the process.

    If not, the vertex saves the account in the ledger before it acknowledges, and restores it after a restart.
    """

    def restore(self, entries: Sequence[LedgerEntry]) -> None:
        """Resume the account that a previous process saved; called only if the sink is not durable."""
        ...

    def accept(self, messages: Sequence[bytes]) -> BatchCounts:
        """Store messages in their wire format; they may be acknowledged when this returns.

        Raises
        ------
        UnavailableError
            If the messages cannot be stored now. None of them has been counted, and the call may be retried.
        """
        ...

    def tick(self) -> None:
        """Do periodic work; called several times per second."""
        ...

    def close(self) -> None:
        """Finish and close the files."""
        ...

    def report(self) -> SinkReport:
        """Return the account of frames and the figures of the sink; may be called from any thread."""
        ...


def decode_for_sink(payload: bytes) -> SinkMessage:
    """Decode a message and check the values that sinks depend on.

    Raises
    ------
    WireError
        If the message cannot be decoded, is a frame, or has values that cannot be stored.
    """
    message = decode(payload)
    if isinstance(message, Frame):
        raise WireError(f"frame {message.id.name}: sinks accept patches, rejections and late positions only")
    if isinstance(message, LatePosition):
        name, numbers = message.name, (message.time_ns,)
    else:
        i = message.id
        name, numbers = i.name, (i.unique_id, i.time_ns, i.epoch_ns, *message.times_ns.values())
    if not all(n in INT64 for n in numbers):
        raise WireError(f"{name}: a time or the unique id is not a 64-bit integer")
    if isinstance(message, Patch) and not _can_be_stitched(message):
        raise WireError(f"patch {name}: cannot stitch {message.phase.shape} pixels of {message.pixel_m!r} m")
    return message


def _can_be_stitched(patch: Patch) -> bool:
    pixel_m: object = patch.pixel_m
    return isinstance(pixel_m, float) and math.isfinite(pixel_m) and pixel_m > 0.0 and min(patch.phase.shape) >= 2
