"""Base class of processors that run in ``pvapy-hpc-consumer``, the consumer program of PvaPy."""

from __future__ import annotations

import logging
import signal
import sys
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from pvapy.hpc.adImageProcessor import AdImageProcessor

from charon.adapters.pvaccess.monitor import RawUpdate
from charon.adapters.pvaccess.ntndarray_builder import build_ntndarray
from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.errors import UsageError
from charon.settings import epics

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

    import numpy as np
    from numpy.typing import NDArray

    from charon.frames import Frame

_CONNECT_TIMEOUT_S = 0.2
_Base: Any = AdImageProcessor  # PvaPy has no type information


class ConsumerProcessor(_Base):
    """Connects PvaPy's consumer to a subclass that processes its updates.

    PvaPy constructs the processor before it subscribes to the channel. The constructor waits for the channel: PvaPy
    searches for a channel at increasing intervals, and a consumer that waited for 2.5 s connected 3 s after the channel
    had appeared. SIGTERM ends the consumer in the same order as Ctrl-C, but never within `process`.

    Parameters
    ----------
    config
        PvaPy's configuration, which contains the values of ``--processor-args``.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        _Base.__init__(self, config)
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
        self._channel = str(config["inputChannel"])
        self._is_processing = False
        self._is_terminating = False
        try:
            self.prepare(config)
        except UsageError as error:
            # PvaPy would print a traceback, and its exit status would request a restart.
            sys.stderr.write(f"error: {error}\n")
            sys.exit(2)
        signal.signal(signal.SIGTERM, self._terminate)
        wait_for_channel(self._channel)

    @abstractmethod
    def prepare(self, config: Mapping[str, Any]) -> None:
        """Load everything that is needed to process the first update."""

    @abstractmethod
    def on_update(self, update: RawUpdate) -> None:
        """Process an update; called on PvaPy's main thread."""

    def process(self, pvObject: PvStructure) -> None:  # noqa: N803 - the name in PvaPy
        """Pass an update to `on_update`."""
        self._is_processing = True
        try:
            self.on_update(RawUpdate(self._channel, time.time_ns(), pvObject))
        finally:
            self._is_processing = False
        if self._is_terminating:
            raise KeyboardInterrupt

    def publish(self, image: NDArray[np.float32], frame: Frame) -> None:
        """Publish an image with the ``uniqueId``, time stamp and attributes of a frame on the output channel."""
        pv = build_ntndarray(image, frame.id.unique_id, frame.id.time_ns, frame.attributes)
        self.updateOutputChannel(pv)

    def _terminate(self, _number: int, _frame: FrameType | None) -> None:
        self._is_terminating = True
        if not self._is_processing:
            raise KeyboardInterrupt


def wait_for_channel(name: str) -> None:
    """Wait until a channel can be read."""
    epics.set_client_defaults()
    while True:
        # A new channel searches immediately.
        channel = pva.Channel(name)
        channel.setTimeout(_CONNECT_TIMEOUT_S)
        try:
            channel.get("field(uniqueId)")
        except pva.PvaException:
            if not channel.isConnected():
                continue
        return
