"""Preparation of updates: identify, assign the epoch, crop and bin, add the position, encode."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from charon.errors import BadFrameError, Reason
from charon.frames import Rejection, WireError, encode
from charon.ledger.book import LedgerBook
from charon.ledger.epochs import EpochTracker
from charon.ledger.frame_log import RECEIVED, REPEATED
from charon.ledger.states import FrameState
from charon.vertices.source.ring import MissedRange

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charon.frames import Frame, FrameId, Position
    from charon.ledger.frame_log import FrameLog
    from charon.ledger.pages import SourcePage
    from charon.science.preprocess import Geometry
    from charon.vertices.source.ring import Update
    from charon.vertices.stats import Stats

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PreparedMessage:
    """An encoded frame or rejection.

    Parameters
    ----------
    id
        The frame's id, with its epoch.
    scan
        Name of its scan.
    payload
        The message in its wire format.
    reason
        Why the frame was rejected; empty for a frame.
    """

    id: FrameId
    scan: str
    payload: bytes
    reason: str = ""


class FramePreparer:
    """Turns updates into messages and records the frames in the ledger book.

    One batch is prepared at a time, on the event loop or on a worker thread.

    Parameters
    ----------
    channel
        Name of the channel.
    geometry
        Crop and binning; None publishes frames unchanged.
    positions
        Returns the scan position of a frame without one, or None if it is unknown.
    stats
        Counters of the vertex.
    frame_log
        Log of received and repeated frames.
    """

    def __init__(
        self,
        channel: str,
        *,
        geometry: Geometry | None,
        positions: Callable[[FrameId], Position | None] | None,
        stats: Stats,
        frame_log: FrameLog | None = None,
    ) -> None:
        self.book = LedgerBook()
        self.epochs = EpochTracker()
        self.frame_bytes = 0
        """Size of the latest image in bytes; 0 before the first."""
        self.prepare_s = 1.0
        """Preparation time of one frame in s; initially high, so that the first batch uses the thread."""
        self._channel = channel
        self._geometry = geometry
        self._positions = positions
        self._stats = stats
        self._frame_log = frame_log
        self._unconfirmed: FrameId | None = None
        self._warned_of_time = False

    def restore(self, page: SourcePage) -> None:
        """Resume from the latest page of this replica's previous process."""
        self.book = LedgerBook.from_entries(page.entries)
        if page.last is None:
            return
        last = replace(page.last, channel=self._channel)
        self.epochs.resume(last)
        if last.unique_id not in self.book.ids(self._channel, last.epoch_ns, FrameState.ACCEPTED):
            # The previous process ended before the buffer confirmed this frame; publish it if it arrives again.
            self._unconfirmed = last

    def prepare(self, updates: Sequence[Update | MissedRange]) -> list[PreparedMessage]:
        """Return the messages of a batch of updates; missed, repeated and ignored updates have none."""
        started = time.perf_counter()
        messages = [self._prepare_one(update) for update in updates]
        elapsed_s = time.perf_counter() - started
        self._stats.busy_s += elapsed_s
        self.prepare_s = elapsed_s / len(updates)
        return [message for message in messages if message is not None]

    def record_missed(self, updates: Sequence[Update | MissedRange]) -> None:
        """Record updates that will no longer be prepared as missed."""
        for update in updates:
            try:
                span = update if isinstance(update, MissedRange) else MissedRange(update.identify(), update.identify())
            except BadFrameError:
                continue
            self._record_range(span)

    def _prepare_one(self, update: Update | MissedRange) -> PreparedMessage | None:
        if isinstance(update, MissedRange):
            return self._record_range(update)
        try:
            channel_id = update.identify()
        except BadFrameError as error:
            return self._ignore(error)
        frame = _decode(update)
        if isinstance(frame, BadFrameError) and frame.reason == Reason.EMPTY and channel_id.time_ns == 0:
            # The initial value of an area detector's channel, before its first frame.
            return self._ignore(frame)
        frame_id = self._assign_epoch(channel_id)
        if self._frame_log is not None:
            self._frame_log.append(channel_id, REPEATED if frame_id is None else RECEIVED, update.received_ns)
        if frame_id is None:
            return None
        if isinstance(frame, BadFrameError):
            return self._reject(update, frame_id, frame)
        return self._prepare_frame(update, frame_id, frame)

    def _assign_epoch(self, channel_id: FrameId) -> FrameId | None:
        """Return the id with its epoch, or None for a repeat of the latest frame."""
        frame_id, repeated = self.epochs.assign(channel_id)
        unconfirmed, self._unconfirmed = self._unconfirmed, None
        if repeated and frame_id != unconfirmed:
            self._stats.count("repeated")
            return None
        if frame_id.time_ns == 0 and not self._warned_of_time:
            self._warned_of_time = True
            self._stats.warn(f"channel {self._channel} sends no time stamps; frames are identified by uniqueId alone")
        return frame_id

    def _ignore(self, error: BadFrameError) -> None:
        # An update without an id is not a frame and cannot be accounted for.
        self._stats.count(f"unidentified:{error.reason}")
        if error.reason == Reason.EMPTY:
            # Normal until the first frame, so not a warning.
            _log.info("channel %s has no image yet", self._channel)
            return
        self._stats.warn(f"channel {self._channel}: ignored an update that is not a frame: {error.detail}")

    def _record_range(self, missed: MissedRange) -> None:
        frame_id, repeated = self.epochs.assign(missed.first)
        self.epochs.assign(missed.last)
        numbers = missed.first.unique_id + repeated, missed.last.unique_id
        if numbers[0] <= numbers[1]:
            self.book.add_range(frame_id.channel, frame_id.epoch_ns, scan_name(frame_id), FrameState.MISSED, numbers)

    def _prepare_frame(self, update: Update, frame_id: FrameId, frame: Frame) -> PreparedMessage:
        try:
            frame = self._complete(frame, frame_id)
            times = {**frame.times_ns, "received": update.received_ns, "accepted": time.time_ns()}
            payload = encode(replace(frame, times_ns=times))
        except BadFrameError as error:
            return self._reject(update, frame_id, error)
        except WireError as error:
            return self._reject(update, frame_id, BadFrameError(Reason.DTYPE, str(error)))
        self.book.add(frame_id.channel, frame_id.epoch_ns, frame.scan, FrameState.SEEN, frame_id.unique_id)
        return PreparedMessage(frame_id, frame.scan, payload)

    def _complete(self, frame: Frame, frame_id: FrameId) -> Frame:
        """Return the frame cropped and binned, with its id, position and scan."""
        self.frame_bytes = frame.image.nbytes
        image = frame.image if self._geometry is None else self._geometry.apply(frame.image)
        position = frame.position_m
        if position is None and self._positions is not None:
            position = self._positions(frame_id)
        scan = frame.scan or scan_name(frame_id)
        return replace(frame, id=frame_id, image=image, position_m=position, scan=scan)

    def _reject(self, update: Update, frame_id: FrameId, error: BadFrameError) -> PreparedMessage:
        prefix = f"frame {frame_id.name}: "
        detail = prefix + error.detail.removeprefix(prefix)
        self._stats.warn(f"rejected: {detail}")
        scan = scan_name(frame_id)
        self.book.add(frame_id.channel, frame_id.epoch_ns, scan, FrameState.SEEN, frame_id.unique_id)
        times = {"received": update.received_ns}
        payload = encode(Rejection(frame_id, error.reason, detail, "source", scan, times))
        return PreparedMessage(frame_id, scan, payload, str(error.reason))


def _decode(update: Update) -> Frame | BadFrameError:
    """Return the frame, or the error if it is bad."""
    try:
        return update.frame()
    except BadFrameError as error:
        return error


def scan_name(frame_id: FrameId) -> str:
    """Return a name for the scan of a frame without one, from the start time of its epoch."""
    if frame_id.epoch_ns == 0:
        return "scan"
    return time.strftime("scan-%Y%m%dT%H%M%SZ", time.gmtime(frame_id.epoch_ns // 1_000_000_000))
