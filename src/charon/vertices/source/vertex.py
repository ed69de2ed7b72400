"""The source vertex: from the detector's channel into the buffer, and an account of what it saw."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from charon.errors import BadFrameError, Reason
from charon.frames import FrameId, LatePosition, Rejection, WireError, encode
from charon.ledger.book import LedgerBook
from charon.ledger.epochs import EpochTracker
from charon.ledger.pages import SourcePage
from charon.ledger.states import FrameState, VertexState, rejected_state
from charon.vertices.ledger_writer import load_previous_page
from charon.vertices.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from charon.frames import Frame, Position
    from charon.science.preprocess import Geometry
    from charon.vertices.ports import Ledger, Outlet

_log = logging.getLogger(__name__)
# Frames prepared in one go on the worker thread: enough to pay for the hand-over, few enough for latency.
_HANDFUL = 8
# The loop has nothing else to do than to send what was prepared; it may be kept from it for so long.
_SHORT_S = 0.002


class Update(Protocol):
    """One update of the detector's channel, not yet looked into."""

    @property
    def received_ns(self) -> int:
        """When it came, by this machine's clock."""
        ...

    def identify(self) -> FrameId:
        """Return which frame it is, even where its image is bad; raise BadFrameError where it is no frame."""
        ...

    def frame(self) -> Frame:
        """Return the frame; raise BadFrameError where it is bad."""
        ...


@dataclass(frozen=True, slots=True)
class _Prepared:
    id: FrameId
    scan: str
    payload: bytes
    reason: str = ""


@dataclass(slots=True)
class _Missed:
    """What is left of updates that found the ring full one after the other: names, to be counted in their turn."""

    received_ns: int
    first: FrameId
    last: FrameId

    def follows(self, found: FrameId) -> bool:
        """Take in the next frame, where it is the next one."""
        if found.unique_id != self.last.unique_id + 1 or found.time_ns < self.last.time_ns:
            return False
        self.last = found
        return True

    def identify(self) -> FrameId:
        return self.first

    def frame(self) -> Frame:
        raise LookupError(self.first.name)


class SourceVertex:
    """Reads a channel into a bounded ring, prepares frames and hands them to the buffer under their names.

    Parameters
    ----------
    channel
        Name of the pvAccess channel.
    geometry
        Crop and binning of its frames; None passes them on as they come.
    ring_bytes
        Memory for frames that wait for the buffer; when it is full, frames are missed, and counted.
    in_flight
        Most frames handed to the buffer and not yet confirmed.
    positions
        Gives the position of a frame that carries none, by its uniqueId counted from the epoch's first, or None.
    """

    def __init__(
        self,
        channel: str,
        *,
        geometry: Geometry | None = None,
        ring_bytes: int = 256 * 2**20,
        in_flight: int = 128,
        positions: Callable[[FrameId], Position | None] | None = None,
    ) -> None:
        self.channel = channel
        self.stats = Stats(state=VertexState.WAITING_FOR_CHANNEL)
        self.book = LedgerBook()
        self._geometry = geometry
        self._ring: deque[Update] = deque()
        # What was missed last may still grow: for it to be taken and to grow is never at once.
        self._growing = threading.Lock()
        self._ring_bytes = ring_bytes
        # Until the first frame tells its size, this many are let wait.
        self._ring_places = 256
        self._in_flight = in_flight
        self._in_hand = 0
        self._positions = positions
        self._epochs = EpochTracker()
        self._late: deque[LatePosition] = deque()
        # How long a frame took last; the first ones go to the other thread.
        self._prepare_s = 1.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._warned: set[str] = set()
        self._overflowing = False
        self._unsure: FrameId | None = None
        self._failure: BaseException | None = None

    @property
    def pending(self) -> int:
        """How many messages have come and are not confirmed: in the ring, being prepared, being handed over."""
        return len(self._ring) + len(self._late) + self._in_hand

    # Called on the pvAccess thread: nothing but taking note.

    def on_update(self, update: Update) -> None:
        """Take an update into the ring, or note it as missed where the ring is full."""
        if len(self._ring) >= self._ring_places:
            self._overflow(update)
            return
        self._ring.append(update)
        self._wake()

    def on_state(self, connected: bool) -> None:
        """Take note that the channel came or went."""
        self.stats.state = VertexState.RUNNING if connected else VertexState.WAITING_FOR_CHANNEL
        _log.info("channel %s %s", self.channel, "is connected" if connected else "is not there; waiting for it")

    def on_position(self, position: LatePosition) -> None:
        """Take a position that came on a channel of its own."""
        self._late.append(position)
        self._wake()

    def _overflow(self, update: Update) -> None:
        self.stats.count("overflow")
        try:
            found = update.identify()
        except BadFrameError:
            return
        with self._growing:
            last = self._ring[-1] if self._ring else None
            if not (isinstance(last, _Missed) and last.follows(found)):
                self._ring.append(_Missed(update.received_ns, found, found))
        if not self._overflowing:
            self._overflowing = True
            _log.warning("channel %s: frames come faster than the buffer takes them; some are missed", self.channel)

    def _wake(self) -> None:
        if self._loop is not None and not self._arrived.is_set():
            self._loop.call_soon_threadsafe(self._arrived.set)

    # On the event loop.

    async def restore(self, ledger: Ledger) -> None:
        """Go on with the account of the replica's predecessor, if there was one."""
        page = await load_previous_page(ledger, self.stats)
        if isinstance(page, SourcePage):
            self.book = LedgerBook.from_entries(page.entries)
            if page.last is not None:
                self._resume(replace(page.last, channel=self.channel))

    def _resume(self, last: FrameId) -> None:
        self._epochs.resume(last)
        if last.unique_id not in self.book.ids(self.channel, last.epoch_ns, FrameState.ACCEPTED):
            # The previous process ended before the buffer confirmed this frame: accept it if it arrives again.
            self._unsure = last

    async def work(self, outlets: Sequence[Outlet], stop: asyncio.Event) -> None:
        """Hand frames to the buffer until told to stop and the ring is empty.

        Where this ends before, what the ring holds is noted as missed.
        """
        try:
            await self._hand_over(outlets, stop)
        finally:
            self._give_up()

    async def _hand_over(self, outlets: Sequence[Outlet], stop: asyncio.Event) -> None:
        self._loop = asyncio.get_running_loop()
        places = asyncio.Semaphore(self._in_flight)
        handing: set[asyncio.Task[None]] = set()
        with ThreadPoolExecutor(1, "prepare") as thread:
            while not (stop.is_set() and not self._ring and not self._late):
                if self._failure is not None:
                    raise self._failure
                positions, handful = self._take_positions(), self._take()
                if not handful and not positions:
                    await self._wait(stop)
                    continue
                ready = await self._prepare_quickly(thread, handful) if handful else []
                self._in_hand -= len(handful) - len(ready)
                for hand_on in (
                    *(partial(self._hand_on_position, position, outlets) for position in positions),
                    *(partial(self._hand_on, prepared, outlets) for prepared in ready),
                ):
                    await places.acquire()
                    task = asyncio.create_task(self._placed(hand_on, places))
                    handing.add(task)
                    task.add_done_callback(handing.discard)
                    task.add_done_callback(self._note_failure)
            if handing:
                await asyncio.gather(*handing)
        if self._failure is not None:
            raise self._failure

    def page(self) -> SourcePage:
        """Return this replica's page of the ledger."""
        return SourcePage(
            process=self.stats.snapshot(),
            channel=self.channel,
            restarts=self._epochs.restarts,
            waiting=len(self._ring),
            pending=self.pending,
            last=self._epochs.last,
            entries=self.book.entries(),
        )

    def _note_failure(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()

    async def _prepare_quickly(self, thread: ThreadPoolExecutor, handful: list[Update]) -> list[_Prepared]:
        """Prepare frames on the loop where that takes less than handing them to another thread and back."""
        if self._prepare_s * len(handful) < _SHORT_S:
            return self._prepare(handful)
        return await asyncio.get_running_loop().run_in_executor(thread, self._prepare, handful)

    def _take(self) -> list[Update]:
        handful: list[Update] = []
        with self._growing:
            while self._ring and len(handful) < _HANDFUL:
                handful.append(self._ring.popleft())
        self._in_hand += len(handful)
        return handful

    def _take_positions(self) -> list[LatePosition]:
        positions = [self._late.popleft() for _ in range(len(self._late))]
        self._in_hand += len(positions)
        return positions

    async def _wait(self, stop: asyncio.Event) -> None:
        self._arrived.clear()
        if self._ring or self._late or stop.is_set():
            return
        # Bounded, because a stop does not set this event.
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await self._arrived.wait()

    async def _placed(self, hand_on: Callable[[], Coroutine[Any, Any, None]], places: asyncio.Semaphore) -> None:
        try:
            await hand_on()
        finally:
            places.release()
            self._in_hand -= 1

    async def _hand_on(self, prepared: _Prepared, outlets: Sequence[Outlet]) -> None:
        new = await asyncio.gather(*(outlet.send(prepared.payload, prepared.id.name) for outlet in outlets))
        where = (prepared.id.channel, prepared.id.epoch_ns, prepared.scan)
        self.book.add(*where, FrameState.ACCEPTED, prepared.id.unique_id)
        if prepared.reason:
            self.book.add(*where, rejected_state(prepared.reason), prepared.id.unique_id)
        self.stats.count("done")
        if not all(new):
            self.book.count(*where[:2], "redundant")

    async def _hand_on_position(self, position: LatePosition, outlets: Sequence[Outlet]) -> None:
        await asyncio.gather(*(outlet.send(encode(position), position.name) for outlet in outlets))
        self.stats.count("positions")

    # On the prepare thread.

    def _prepare(self, handful: list[Update]) -> list[_Prepared]:
        started = time.perf_counter()
        results = [self._prepare_one(update) for update in handful]
        elapsed = time.perf_counter() - started
        self.stats.busy_s += elapsed
        self._prepare_s = elapsed / len(handful)
        return [prepared for prepared in results if prepared is not None]

    def _prepare_one(self, update: Update) -> _Prepared | None:
        frame: Frame | BadFrameError
        try:
            found = update.identify()
        except BadFrameError as error:
            return self._pass_over(error)
        if isinstance(update, _Missed):
            return self._missed(update.first, update.last)
        try:
            frame = update.frame()
        except BadFrameError as error:
            if error.reason == Reason.EMPTY and found.time_ns == 0:
                # What an area detector's channel holds before its first frame: nothing was published yet.
                return self._pass_over(error)
            frame = error
        frame_id, again = self._epochs.assign(found)
        unsure, self._unsure = self._unsure, None
        if again and frame_id != unsure:
            self.stats.count("again")
            return None
        self._overflowing = False
        self._say_once(frame_id)
        return self._prepare_frame(update, frame_id, frame)

    def _give_up(self) -> None:
        """Note what nobody will prepare any more."""
        while self._ring:
            update = self._ring.popleft()
            with suppress(BadFrameError):
                found = update.identify()
                self._missed(found, update.last if isinstance(update, _Missed) else found)

    def _pass_over(self, error: BadFrameError) -> None:
        # What carries no name is no frame that one could account for.
        self.stats.count(f"unidentified:{error.reason}")
        if error.reason == Reason.EMPTY:
            # Every area detector's channel holds such a value until the first frame: nothing to warn of.
            _log.info("channel %s holds no image yet", self.channel)
            return
        self.stats.warn(f"channel {self.channel}: passed over an update that is no frame: {error.detail}")

    def _missed(self, first: FrameId, last: FrameId) -> None:
        """Note frames that follow each other."""
        frame_id, again = self._epochs.assign(first)
        self._epochs.assign(last)
        numbers = first.unique_id + again, last.unique_id
        if numbers[0] <= numbers[1]:
            self.book.add_range(frame_id.channel, frame_id.epoch_ns, scan_name(frame_id), FrameState.MISSED, numbers)

    def _prepare_frame(self, update: Update, frame_id: FrameId, frame: Frame | BadFrameError) -> _Prepared:
        if isinstance(frame, BadFrameError):
            return self._rejected(update, frame_id, frame)
        try:
            frame = self._fit(frame, frame_id)
        except BadFrameError as error:
            return self._rejected(update, frame_id, error)
        self.book.add(frame_id.channel, frame_id.epoch_ns, frame.scan, FrameState.SEEN, frame_id.unique_id)
        times = {**frame.times_ns, "received": update.received_ns, "accepted": time.time_ns()}
        try:
            payload = encode(replace(frame, times_ns=times))
        except WireError as error:
            return self._rejected(update, frame_id, BadFrameError(Reason.DTYPE, str(error)))
        return _Prepared(frame_id, frame.scan, payload)

    def _fit(self, frame: Frame, frame_id: FrameId) -> Frame:
        self._ring_places = max(64, self._ring_bytes // max(1, frame.image.nbytes))
        image = frame.image if self._geometry is None else self._geometry.apply(frame.image)
        position = frame.position_m
        if position is None and self._positions is not None:
            position = self._positions(frame_id)
        scan = frame.scan or scan_name(frame_id)
        return replace(frame, id=frame_id, image=image, position_m=position, scan=scan)

    def _rejected(self, update: Update, frame_id: FrameId, error: BadFrameError) -> _Prepared:
        named = f"frame {frame_id.name}: "
        detail = named + error.detail.removeprefix(named)
        self.stats.warn(f"rejected: {detail}")
        scan = scan_name(frame_id)
        self.book.add(frame_id.channel, frame_id.epoch_ns, scan, FrameState.SEEN, frame_id.unique_id)
        times = {"received": update.received_ns}
        payload = encode(Rejection(frame_id, error.reason, detail, "source", scan, times))
        return _Prepared(frame_id, scan, payload, str(error.reason))

    def _say_once(self, frame_id: FrameId) -> None:
        if frame_id.time_ns == 0 and "time" not in self._warned:
            self._warned.add("time")
            self.stats.warn(f"channel {self.channel} sends no time stamps: frames are named by uniqueId alone")


def scan_name(frame_id: FrameId) -> str:
    """Name the scan of a frame that carries no name of one: by the time its epoch began."""
    if frame_id.epoch_ns == 0:
        return "scan"
    return time.strftime("scan-%Y%m%dT%H%M%SZ", time.gmtime(frame_id.epoch_ns // 1_000_000_000))
