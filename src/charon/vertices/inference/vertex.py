"""The inference vertex: whatever waits becomes a batch, every frame gets an answer."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from charon.errors import Reason, UnavailableError
from charon.frames import Frame, LatePosition, Message, Patch, Rejection, WireError, decode, encode
from charon.vertices.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from numpy.typing import NDArray

    from charon.adapters.inference import Backend
    from charon.vertices.ports import Delivery, Inlet, Ledger, Outlet

_log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What the vertex needs to know of its network.

    Parameters
    ----------
    name
        ``name@version``, written into every patch.
    input_shape
        (rows, columns) of the network's input.
    pixel_m
        Size of a pixel of its patches in m.
    phase, amplitude
        Names of the outputs; `amplitude` is None where there is none.
    """

    name: str
    input_shape: tuple[int, int]
    pixel_m: float
    phase: str = "phase"
    amplitude: str | None = None


@dataclass(slots=True)
class _Work:
    delivery: Delivery
    frame: Frame | None = None
    answer: bytes = b""
    name: str = ""


@dataclass(slots=True)
class InferenceVertex:
    """Turns frames into patches; forwards what is no frame; answers a bad frame with a rejection.

    Parameters
    ----------
    backend
        The loaded network.
    model
        What the vertex needs to know of it.
    run
        Name of the run, written into every patch.
    max_batch
        Most frames in one batch.
    linger_s
        How long to wait for more frames once there is one; short, because a batch that is running
        lets the next one gather anyway.
    max_deaths
        A frame at which the process ended so often is set aside. The first time it may have been another
        frame of the batch; every further time the frame was alone, which is written down before.
    slow_s
        Added to each batch: a brake for trials of scaling.
    """

    backend: Backend
    model: ModelInfo
    run: str
    max_batch: int = 8
    linger_s: float = 0.002
    max_deaths: int = 3
    slow_s: float = 0.0
    stats: Stats = field(default_factory=Stats)
    _begun: dict[str, int] = field(default_factory=dict[str, int])
    _ledger: Ledger | None = None

    def warm_up(self) -> None:
        """Run the network once at every batch size it may get, so that no frame pays for it."""
        for size in range(1, self.max_batch + 1):
            self.backend.infer(np.ones((size, *self.model.input_shape), np.float32))

    async def restore(self, ledger: Ledger) -> None:
        """Learn at which frames the replica's predecessors ended."""
        self._ledger = ledger
        document = await ledger.load()
        if document:
            self._begun = {str(name): int(times) for name, times in document.get("begun", {}).items()}

    async def work(self, inlet: Inlet, outlets: Sequence[Outlet], stop: asyncio.Event) -> None:
        """Take, infer and hand on until told to stop; what was taken is finished."""
        sending: asyncio.Task[None] | None = None
        with ThreadPoolExecutor(1, "inference") as thread:
            while not stop.is_set():
                deliveries = await inlet.batch(self.max_batch, self.linger_s)
                if sending is not None and sending.done():
                    # Here what went wrong in it comes out.
                    await sending
                if not deliveries:
                    continue
                # A frame that was handed out before may be what ended whoever had it: it goes alone.
                again = [delivery for delivery in deliveries if delivery.attempt > 1]
                fresh = [delivery for delivery in deliveries if delivery.attempt <= 1]
                loop = asyncio.get_running_loop()
                if fresh:
                    done = await self._finish(loop.run_in_executor(thread, self._answer, fresh), deliveries)
                    # The next batch runs while this one is being confirmed; a second unconfirmed one waits.
                    if sending is not None:
                        await self._finish(sending, deliveries)
                    sending = asyncio.create_task(self._finish(self._hand_on(done, outlets), fresh))
                if again:
                    # Nothing unconfirmed may be here when one of these ends the process.
                    if sending is not None:
                        await self._finish(sending, again)
                        sending = None
                    await self._finish(self._one_by_one(again, outlets, thread), again)
            if sending is not None:
                await sending
        await inlet.close()

    async def _finish(self, running: Awaitable[T], deliveries: Sequence[Delivery]) -> T:
        """Wait for something, asking for more time for a batch that depends on it."""
        future = asyncio.ensure_future(running)
        while True:
            done, _ = await asyncio.wait({future}, timeout=0.5)
            if done:
                return future.result()
            for delivery in deliveries:
                await delivery.in_progress()

    def _answer(self, deliveries: Sequence[Delivery]) -> list[_Work]:
        """Decode, infer and encode on the inference thread."""
        works = [self._open(delivery) for delivery in deliveries]
        frames = [work for work in works if work.frame is not None]
        if frames:
            self._infer(frames)
        return works

    async def _one_by_one(
        self, deliveries: Sequence[Delivery], outlets: Sequence[Outlet], thread: ThreadPoolExecutor
    ) -> None:
        """Deal with each message by itself, writing down before which it is."""
        loop = asyncio.get_running_loop()
        for delivery in deliveries:
            work = await loop.run_in_executor(thread, self._open, delivery)
            if work.frame is not None:
                self._begun[work.name] = self._begun.get(work.name, 0) + 1
                await self._write_down()
                await loop.run_in_executor(thread, self._infer, [work])
            await self._hand_on([work], outlets)
            self._begun.pop(work.name, None)

    async def _write_down(self) -> None:
        try:
            if self._ledger is not None:
                await self._ledger.save(self.document())
        except UnavailableError as error:
            # If the process ends at this frame it is not known: that costs one more try.
            _log.debug("the ledger waits: %s", error)

    def _open(self, delivery: Delivery) -> _Work:
        work = _Work(delivery)
        try:
            message = decode(delivery.payload)
        except WireError as error:
            # It came through a buffer of our own: there is no frame to name, so it is said and counted here.
            _log.error("set aside a message that is no frame: %s", error)
            self.stats.count("undecodable")
            return work
        if not isinstance(message, Frame):
            work.answer, work.name = delivery.payload, _name(message)
            return work
        work.name = message.id.name
        rejection = self._reject(message)
        if rejection is not None:
            self.stats.count(f"rejected:{rejection.reason}")
            self.stats.warn(rejection.detail)
            work.answer = encode(rejection)
        else:
            work.frame = message
        return work

    def _reject(self, frame: Frame) -> Rejection | None:
        detail, reason = "", Reason.SHAPE
        deaths = self._begun.get(frame.id.name, 0) + 1
        if frame.image.shape != self.model.input_shape:
            detail = (
                f"frame {frame.id.name}: {frame.image.shape[0]}x{frame.image.shape[1]} pixels came to "
                f"{self.model.name}, which takes {self.model.input_shape[0]}x{self.model.input_shape[1]}"
            )
        elif deaths >= self.max_deaths:
            reason = Reason.POISON
            detail = f"frame {frame.id.name}: inference ended {deaths} times while it had this frame"
        elif frame.image.dtype.kind == "f" and not _is_finite(frame.image):
            reason, detail = Reason.NOT_FINITE, f"frame {frame.id.name}: holds values that are not finite"
        if not detail:
            return None
        return Rejection(frame.id, reason, detail, "inference", frame.scan, frame.times_ns)

    def _infer(self, group: list[_Work]) -> None:
        frames = [work.frame for work in group if work.frame is not None]
        counts = np.empty((len(frames), *self.model.input_shape), np.float32)
        for row, frame in zip(counts, frames, strict=True):
            row[...] = frame.image
        started = time.perf_counter()
        outputs = self.backend.infer(counts)
        if self.slow_s:
            time.sleep(self.slow_s)
        self.stats.busy_s += time.perf_counter() - started
        self.stats.batches[len(group)] += 1
        inferred_ns = time.time_ns()
        for k, work in enumerate(group):
            work.answer = encode(self._patch(frames[k], outputs, k, inferred_ns))

    def _patch(self, frame: Frame, outputs: dict[str, NDArray[np.float32]], k: int, inferred_ns: int) -> Patch:
        amplitude = self.model.amplitude
        return Patch(
            id=frame.id,
            run=self.run,
            phase=outputs[self.model.phase][k],
            pixel_m=self.model.pixel_m,
            model=self.model.name,
            amplitude=None if amplitude is None else outputs[amplitude][k],
            scan=frame.scan,
            position_m=frame.position_m,
            attributes=frame.attributes,
            times_ns={**frame.times_ns, "inferred": inferred_ns},
        )

    async def _hand_on(self, works: list[_Work], outlets: Sequence[Outlet]) -> None:
        """Acknowledge each message once every outlet has confirmed what came of it."""

        async def one(work: _Work) -> None:
            if work.answer:
                await asyncio.gather(*(outlet.send(work.answer, work.name, work.delivery) for outlet in outlets))
            await work.delivery.ack()
            self.stats.count("done")

        await asyncio.gather(*(one(work) for work in works))

    def close(self) -> None:
        """Nothing is left to do at the end: every answer has been confirmed."""

    def document(self) -> dict[str, Any]:
        """Return this replica's page of the ledger."""
        about = {"kind": "inference", "model": self.model.name, "backend": self.backend.name}
        return {**about, **self.stats.document(), "begun": dict(self._begun)}


def _is_finite(image: NDArray[Any]) -> bool:
    """Return whether the network would be given finite numbers: it takes float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(image.astype(np.float32, copy=False)).all())


def _name(message: Message) -> str:
    """Return the name under which a message that is no frame is counted once."""
    return message.name if isinstance(message, LatePosition) else message.id.name
