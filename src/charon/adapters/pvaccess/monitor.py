"""Following a channel: every update handed over once, across servers that come late, go away and come back.

pvAccess cannot be made to wait, so nothing may stand between the network and memory. The network thread of
PvaPy puts updates into a ``PvObjectQueue`` without entering Python; a thread of this monitor's own takes
them out, stamps them and hands them over. PvaPy's other ways lose or alias updates: a callback's object is
filled again by the next update, and ``setMonitorMaxQueueLength`` delivered nothing at all in PvaPy 5.6.

Measured at 500 frames/s of 512 KiB on loopback: with the client's own queue at its default length 7 % of
the updates overran, with 100 places none on a quiet machine; 250 places are half a second in which the
process may not get a processor. Each place keeps the last image that passed through it, 128 MiB here.
"""

from __future__ import annotations

import atexit
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charon.adapters.pvaccess.ntndarray import DEFAULT_NAMES, AttributeNames, frame_from, identify
from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.settings import epics

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.frames import Frame, FrameId

DEFAULT_QUEUE = 500
_CLIENT_QUEUE = 250
_POLL_S = 0.2
# A PvaPy channel asks for its server at ever longer intervals: a detector that came 45 s late was found 12 s
# after that. A channel made afresh asks at once.
_ASK_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class RawUpdate:
    """One update of an image channel as it came, to be looked at on another thread.

    Parameters
    ----------
    channel
        That it came on.
    received_ns
        When it was received, ns since 1970.
    pv
        The NTNDArray, or whatever the channel carries.
    """

    channel: str
    received_ns: int
    pv: PvStructure

    def identify(self) -> FrameId:
        """Return which frame this is; see `charon.adapters.pvaccess.ntndarray.identify`."""
        return identify(self.pv, self.channel)

    def frame(self, names: AttributeNames = DEFAULT_NAMES) -> Frame:
        """Return the frame; see `charon.adapters.pvaccess.ntndarray.frame_from`."""
        return frame_from(self.pv, self.channel, names)


class Subscription:
    """A channel's updates, as PvObjects, from whenever it is there.

    EPICS's own variables decide where it is looked for; where ``EPICS_PVA_ADDR_LIST`` is not set, loopback
    is asked beside the network.

    Parameters
    ----------
    channel
        Name of the channel; it need not exist yet.
    on_update
        Called with the time of receipt (ns since 1970) and the update, on the subscription's own thread,
        one call at a time.
    on_state
        Called with True when the channel has connected and False when it has gone, once for each change, on
        the same thread; a change is seen when nothing has come for a fifth of a second.
    queue_size
        How many updates wait for `on_update` at most; those beyond are lost.
    """

    def __init__(
        self,
        channel: str,
        on_update: Callable[[int, PvStructure], None],
        on_state: Callable[[bool], None],
        queue_size: int = DEFAULT_QUEUE,
    ) -> None:
        self.channel = channel
        self._on_update = on_update
        self._on_state = on_state
        self._queue = pva.PvObjectQueue(queue_size)
        self._stopping = threading.Event()
        self._connected = False
        self._owning = threading.Lock()
        self._pv_channel: Any = None
        self._asked_s = 0.0
        self._lost_before = 0
        self._thread = threading.Thread(target=self._deliver, name=f"monitor {channel}", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Begin to look for the channel; return at once."""
        # A client by itself asks the network and not this machine's loopback, where `ImageServer` listens.
        epics.set_client_defaults()
        self._search()
        self._thread.start()
        # A thread that waits in PvaPy while the interpreter ends aborts the process.
        atexit.register(self.stop)

    def stop(self) -> None:
        """Leave the channel; what was received before is still handed over."""
        with self._owning:
            if self._pv_channel is None:
                return
            self._lost_before = self.overruns
            self._pv_channel.stopMonitor()
            self._pv_channel = None
        self._stopping.set()
        self._thread.join()
        atexit.unregister(self.stop)

    @property
    def overruns(self) -> int:
        """How many updates were lost on this side, by PvaPy's own count; gaps in ``uniqueId`` say which."""
        channel = self._pv_channel
        lost = 0 if channel is None else int(channel.getMonitorCounters().get("nOverruns", 0))
        rejected = 0 if channel is None else int(self._queue.getCounters().get("nRejected", 0))
        return self._lost_before + lost + rejected

    def _search(self) -> None:
        self._pv_channel = pva.Channel(self.channel)
        self._pv_channel.qMonitor(self._queue, f"record[queueSize={_CLIENT_QUEUE}]field()")
        self._asked_s = time.monotonic()

    def _search_again(self) -> None:
        """Look for the channel afresh where it was looked for in vain."""
        with self._owning:
            if self._connected or self._pv_channel is None or time.monotonic() - self._asked_s < _ASK_AGAIN_S:
                return
            self._lost_before += int(self._pv_channel.getMonitorCounters().get("nOverruns", 0))
            self._pv_channel.stopMonitor()
            self._search()

    def _look(self) -> None:
        """See whether the channel is there.

        PvaPy can call back when that changes, on its network thread; `_search_again` may give the channel up at
        that very moment. A source was seen to end with a segmentation fault on that thread, most likely so: it is
        asked instead.
        """
        channel = self._pv_channel
        if channel is not None:
            self._changed(bool(channel.isConnected()))

    def _changed(self, connected: bool) -> None:
        if connected == self._connected:
            return
        self._connected = connected
        self._asked_s = time.monotonic()
        self._on_state(connected)

    def _deliver(self) -> None:
        try:
            while True:
                pv = self._next()
                if pv is not None:
                    received_ns = time.time_ns()
                    self._changed(True)
                    self._on_update(received_ns, pv)
                elif self._stopping.is_set():
                    return
                else:
                    self._look()
                    self._search_again()
        except BaseException as error:
            self.failure = error
            raise

    def _next(self) -> PvStructure | None:
        """Return the next update, or None if there was none for a while."""
        try:
            return self._queue.get()
        except pva.QueueEmpty:
            if self._stopping.is_set():
                return None
        try:
            self._queue.waitForPut(_POLL_S)
            return self._queue.get()
        except pva.QueueEmpty:
            return None


class FrameMonitor(Subscription):
    """A detector's channel: see `Subscription`; `on_update` is given a `RawUpdate`."""

    def __init__(
        self,
        channel: str,
        on_update: Callable[[RawUpdate], None],
        on_state: Callable[[bool], None],
        queue_size: int = DEFAULT_QUEUE,
    ) -> None:
        def hand_over(received_ns: int, pv: PvStructure) -> None:
            on_update(RawUpdate(channel, received_ns, pv))

        super().__init__(channel, hand_over, on_state, queue_size)
