"""What every sink does, whichever engine hands it messages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from charon.frames import Frame, LatePosition, Patch, Rejection, WireError, decode
from charon.frames.fields import INT64

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.ledger.sink_report import SinkReport


@dataclass(frozen=True, slots=True)
class Accepted:
    """What one call of `Sink.accept` came to.

    Parameters
    ----------
    reconstructed, rejected, positions
        Patches, rejections and late positions that are new.
    duplicates
        Messages that were there before.
    unreadable
        Messages that no later try would make readable; they are logged and dropped.
    """

    reconstructed: int = 0
    rejected: int = 0
    positions: int = 0
    duplicates: int = 0
    unreadable: int = 0


class Sink(Protocol):
    """The end of a frame's way."""

    def accept(self, messages: Sequence[bytes]) -> Accepted:
        """Take messages in their wire format; when this returns they may be acknowledged.

        Raises
        ------
        UnavailableError
            If they cannot be kept now. None of them has been counted; the same call may be tried again.
        """
        ...

    def tick(self) -> None:
        """Do what is due: to be called several times a second, from the thread that calls `accept`."""
        ...

    def close(self) -> None:
        """Finish the files and let go of them."""
        ...

    def report(self) -> SinkReport:
        """Return the frames that the sink has stored or rejected, and its figures."""
        ...


def opened(payload: bytes) -> Patch | Rejection | LatePosition:
    """Return the message, checked for what a sink relies on.

    Raises
    ------
    WireError
        If it cannot be read, is a frame, or holds values that no file of ours has room for.
    """
    message = decode(payload)
    if isinstance(message, Frame):
        raise WireError(f"frame {message.id.name} came to a sink, which takes patches")
    if isinstance(message, LatePosition):
        name, numbers = message.name, (message.time_ns,)
    else:
        i = message.id
        name, numbers = i.name, (i.unique_id, i.time_ns, i.epoch_ns, *message.times_ns.values())
    if not all(n in INT64 for n in numbers):
        raise WireError(f"{name}: one of its times or its number is no 64-bit integer")
    if isinstance(message, Patch) and not _has_a_size(message):
        raise WireError(
            f"patch {message.id.name}: {message.phase.shape} pixels of {message.pixel_m!r} m cannot be placed"
        )
    return message


def _has_a_size(patch: Patch) -> bool:
    pixel_m: object = patch.pixel_m
    return isinstance(pixel_m, float) and math.isfinite(pixel_m) and pixel_m > 0.0 and min(patch.phase.shape) >= 2
