"""Base class of processors that run in ``pvapy-hpc-consumer``, the consumer program of PvaPy."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
import time
from abc import abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any

from pvapy.hpc.adImageProcessor import AdImageProcessor

from charon.adapters.pvaccess.monitor import RawUpdate
from charon.adapters.pvaccess.ntndarray_builder import build_ntndarray
from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.errors import UsageError
from charon.settings import epics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import FrameType

    import numpy as np
    from numpy.typing import NDArray

    from charon.frames import Frame

_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 0.2
_QUEUE_TIMEOUT_S = 0.2
_WARN_DELAY_S = 3.0
_Base: Any = AdImageProcessor  # PvaPy has no type information


class ConsumerProcessor(_Base):
    """Connects PvaPy's consumer to a subclass that processes its updates.

    PvaPy constructs the processor before it subscribes to the channel. The constructor waits for the channel: PvaPy
    searches for a channel at increasing intervals, and a consumer that waited for 2.5 s connected 3 s after the channel
    had appeared. It serves the output channel before that: PvaPy adds it at the first update, and its clients would
    miss the first results. SIGTERM ends the consumer in the same order as Ctrl-C, but never within `process`.

    PvaPy's consumer has one input channel. The updates of its metadata channels, if there are any, are processed like
    those of the input channel.

    Parameters
    ----------
    config
        PvaPy's configuration, which contains the values of ``--processor-args``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        _Base.__init__(self, config)
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
        self._channel = str(config["inputChannel"])
        self._lock = threading.Lock()
        self._readers: list[threading.Thread] = []
        self._is_stopping = threading.Event()
        self._is_processing = False
        self._is_terminating = False
        try:
            self.prepare(config)
        except UsageError as error:
            # PvaPy would print a traceback, and its exit status would request a restart.
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)
        signal.signal(signal.SIGTERM, self._terminate)
        self._output = _OutputChannel(str(config["outputChannel"])) if config["outputChannel"] else None
        try:
            for channel in (self._channel, *self.further_channels(config)):
                wait_for_channel(channel)
        except KeyboardInterrupt:
            # PvaPy does not handle signals before it has subscribed.
            self.stop()
            sys.exit(0)

    @abstractmethod
    def prepare(self, config: Mapping[str, Any]) -> None:
        """Load everything that is needed to process the first update."""

    def further_channels(self, config: Mapping[str, Any]) -> Sequence[str]:  # noqa: ARG002 - for subclasses
        """Return the names of the metadata channels to wait for."""
        return ()

    @abstractmethod
    def on_update(self, update: RawUpdate) -> None:
        """Process an update; called by one thread at a time."""

    @abstractmethod
    def finish(self) -> None:
        """Finish the work; called after the last update."""

    def start(self) -> None:
        """Read the metadata channels; called by PvaPy after it has subscribed."""
        for channel, queue in self.metadataQueueMap.items():
            thread = threading.Thread(target=self._read, args=(channel, queue), name=channel, daemon=True)
            self._readers.append(thread)
            thread.start()

    def process(self, pvObject: PvStructure) -> None:  # noqa: N803 - the name in PvaPy
        """Pass an update to `on_update`."""
        self._is_processing = True
        try:
            self._pass(self._channel, pvObject)
        finally:
            self._is_processing = False
        if self._is_terminating:
            raise KeyboardInterrupt

    def stop(self) -> None:
        """Process the updates that wait in the queues of the metadata channels, and finish; called by PvaPy."""
        self._is_stopping.set()
        for thread in self._readers:
            thread.join()
        self.finish()

    def getOutputPvObjectType(self, _pv: PvStructure) -> None:  # noqa: N802 - the name in PvaPy
        """Return None, so that PvaPy does not add the output channel, which this class serves."""

    def updateOutputChannel(self, pv: PvStructure) -> None:  # noqa: N802 - the name in PvaPy
        """Publish a structure on the output channel, if there is one."""
        if self._output is not None:
            self._output.update(pv)

    def publish(self, image: NDArray[np.float32], frame: Frame) -> None:
        """Publish an image with the ``uniqueId``, time stamp and attributes of a frame on the output channel."""
        pv = build_ntndarray(image, frame.id.unique_id, frame.id.time_ns, frame.attributes)
        self.updateOutputChannel(pv)

    def _read(self, channel: str, queue: Any) -> None:  # noqa: ANN401 - PvaPy has no types
        while (pv := _next_update(queue)) is not None or not self._is_stopping.is_set():
            if pv is None:
                continue
            try:
                self._pass(channel, pv)
            except Exception:  # noqa: BLE001 - as PvaPy does for the input channel: the later updates are processed
                _log.exception("an update of channel %s was not processed", channel)

    def _pass(self, channel: str, pv: PvStructure) -> None:
        """Process an update; exit if a file cannot be written, because PvaPy would log the error and continue."""
        received_ns = time.time_ns()
        try:
            with self._lock:
                self.on_update(RawUpdate(channel, received_ns, pv))
        except OSError:
            _log.exception("cannot continue")
            os._exit(1)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._is_terminating = True
        if not self._is_processing:
            raise KeyboardInterrupt


class _OutputChannel:
    """The output channel, on a server of its own: PvaPy starts its server when the consumer has subscribed."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._server = pva.PvaServer()
        self._server.addRecord(name, pva.NtNdArray(), None)
        self._server.start()
        # As PvaPy does: the structure is checked once.
        self._update = self._server.update

    def update(self, pv: PvStructure) -> None:
        self._update(self._name, pv)
        self._update = self._server.updateUnchecked


def _next_update(queue: Any) -> PvStructure | None:  # noqa: ANN401 - PvaPy has no types
    """Return the next update of a queue, None if none arrives within the timeout."""
    for timeout_s in (0.0, _QUEUE_TIMEOUT_S):
        try:
            if timeout_s:
                queue.waitForPut(timeout_s)
            return queue.get()
        except pva.QueueEmpty:
            continue
    return None


def wait_for_channel(name: str) -> None:
    """Wait until a channel can be read; warn once if this requires more than a few seconds."""
    epics.set_client_defaults()
    # pvAccess resolves names once, and ignores those that it cannot resolve.
    for address in epics.search_addresses():
        _wait_until(partial(_is_resolved, address), f"EPICS_PVA_ADDR_LIST: cannot resolve {address}; retrying")
    warning = f"channel {name} is unavailable; waiting until the mirror server and the detector run"
    _wait_until(partial(_is_readable, name), warning)
    _log.info("connected to channel %s", name)


def _wait_until(condition: Callable[[], bool], warning: str) -> None:
    warn_s = time.monotonic() + _WARN_DELAY_S
    while not condition():
        if time.monotonic() > warn_s:
            _log.warning("%s", warning)
            warn_s = float("inf")


def _is_resolved(address: str) -> bool:
    try:
        socket.getaddrinfo(address, None)
    except OSError:
        time.sleep(_CONNECT_TIMEOUT_S)
        return False
    return True


def _is_readable(name: str) -> bool:
    # A new channel searches immediately.
    channel = pva.Channel(name)
    channel.setTimeout(_CONNECT_TIMEOUT_S)
    try:
        channel.get("field(uniqueId)")
    except pva.PvaException:
        return bool(channel.isConnected())
    return True
