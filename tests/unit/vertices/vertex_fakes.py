"""Fakes of the engine's ports, of the detector's updates and of the inference back end."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import numpy as np

from charon.adapters.inference import Backend
from charon.errors import UnavailableError
from charon.frames import Frame, FrameId, Patch, decode
from charon.vertices.ports import Delivery, Inlet, Ledger, Outlet
from charon.vertices.source import Update

KindT = TypeVar("KindT", Frame, Patch)
CHANNEL = "ad:image"


class FakeDelivery(Delivery):
    """A message that counts its acknowledgements, extensions and releases."""

    def __init__(self, payload, attempt=1):
        self._payload = payload
        self._attempt = attempt
        self.acks = 0
        self.extended = 0
        self.released = 0
        self.result = None

    @property
    def payload(self):
        """Return the message."""
        return self._payload

    @property
    def attempt(self):
        """Return the number of this delivery."""
        return self._attempt

    async def ack(self, result=None, /):
        """Count the call and keep the result."""
        self.acks += 1
        self.result = result

    async def in_progress(self):
        """Count the call."""
        self.extended += 1

    async def release(self):
        """Count the call."""
        self.released += 1


class FakeInlet(Inlet):
    """Delivers the given batches, then stops the vertex."""

    def __init__(self, batches, stop):
        self._batches = list(batches)
        self._stop = stop
        self.closed = False

    async def batch(self, max_messages, linger_s):
        """Return the next batch."""
        await asyncio.sleep(0)
        if self._batches:
            return self._batches.pop(0)
        self._stop.set()
        await asyncio.sleep(0.001)
        return []

    async def close(self):
        """Record the call."""
        self.closed = True


class FakeOutlet(Outlet):
    """A buffer that recognises repeated names; it is full while its gate is not set, and raises its fault, if any."""

    def __init__(self):
        self.messages = {}
        self.sends = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: Exception | None = None

    async def send(self, payload, name):
        """Keep the first message of each name."""
        self.sends += 1
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        new = name not in self.messages
        self.messages.setdefault(name, payload)
        return new

    def decoded(self):
        """Return the messages in the order in which they were confirmed."""
        return [decode(payload) for payload in self.messages.values()]

    def frames(self):
        """Return the messages, which must all be frames."""
        return self._decoded_as(Frame)

    def patches(self):
        """Return the messages, which must all be patches."""
        return self._decoded_as(Patch)

    def _decoded_as(self, kind: type[KindT]) -> list[KindT]:
        messages = self.decoded()
        matching = [message for message in messages if isinstance(message, kind)]
        assert matching == messages
        return matching


class FakeLedger(Ledger):
    """A page that keeps every version; its next `failing_saves` saves fail."""

    def __init__(self, page=None):
        self.saved = [] if page is None else [page]
        self.failing_saves = 0

    async def load(self):
        """Return the latest version."""
        return self.saved[-1] if self.saved else None

    async def save(self, page):
        """Keep a version, unless the ledger is unavailable."""
        if self.failing_saves:
            self.failing_saves -= 1
            raise UnavailableError("the ledger does not respond")
        self.saved.append(page)


class FakeUpdate(Update):
    """An update of the channel: a frame, or the error that decoding it raises."""

    def __init__(self, unique_id, image=None, *, time_ns=None, identify=None, frame=None, position=None, scan=""):
        self.id = FrameId(CHANNEL, unique_id, 1000 + unique_id if time_ns is None else time_ns)
        self._image = np.full((4, 4), unique_id, np.uint16) if image is None else image
        self._identify = identify
        self._frame = frame
        self._position = position
        self._scan = scan

    @property
    def received_ns(self):
        """Return the time of arrival."""
        return 5000 + self.id.unique_id

    def identify(self):
        """Return the frame's id."""
        if self._identify is not None:
            raise self._identify
        return self.id

    def frame(self):
        """Return the frame."""
        if self._frame is not None:
            raise self._frame
        return Frame(self.id, self._image, scan=self._scan, position_m=self._position)


class FakeBackend(Backend):
    """A network whose phase is the mean of its input; it records the size of each batch."""

    def __init__(self, fault=None):
        self.batches = []
        self.fault = fault

    @property
    def name(self):
        """Return a name and a version."""
        return "fake 1"

    def infer(self, counts):
        """Return the phase."""
        self.batches.append(len(counts))
        if self.fault is not None:
            raise self.fault
        return {"phase": np.ones_like(counts) * counts.mean(axis=(1, 2), keepdims=True)}
