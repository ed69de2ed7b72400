"""The inference vertex: reads batches, infers them on a thread, publishes and acknowledges each result."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from charon.errors import Reason, UnavailableError
from charon.ledger.frame_log import PROCESSED, rejected
from charon.ledger.pages import InferencePage
from charon.tasks import task_group
from charon.vertices.inference.processor import FrameProcessor
from charon.vertices.ledger_writer import load_previous_page
from charon.vertices.publish import publish
from charon.vertices.stats import Stats

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from charon.adapters.inference import Backend
    from charon.ledger.frame_log import FrameLog
    from charon.vertices.inference.processor import Item, ModelInfo
    from charon.vertices.ports import Delivery, Inlet, Ledger, Outlet

_log = logging.getLogger(__name__)
_EXTEND_INTERVAL_S = 0.5
T = TypeVar("T")


class InferenceVertex:
    """Turns frames into patches.

    Parameters
    ----------
    backend
        The loaded network.
    model
        Its properties.
    run
        Name of the run, written into every patch.
    max_batch
        Maximum number of frames in a batch.
    linger_s
        Time to wait for more frames after the first; short, because frames also accumulate while a batch runs.
    max_crashes
        Number of crashes on a frame after which it is rejected.
    delay_s
        Delay added to each batch, for trials of scaling.
    frame_log
        Log of processed and rejected frames.
    """

    def __init__(
        self,
        backend: Backend,
        model: ModelInfo,
        run: str,
        *,
        max_batch: int = 8,
        linger_s: float = 0.002,
        max_crashes: int = 3,
        delay_s: float = 0.0,
        frame_log: FrameLog | None = None,
    ) -> None:
        self.stats = Stats()
        self._frame_log = frame_log
        self._processor = FrameProcessor(backend, model, run, self.stats, max_crashes, delay_s)
        self._max_batch = max_batch
        self._linger_s = linger_s
        # Attempts by frame name, for frames that this process or an earlier one started and did not finish.
        self._unfinished: dict[str, int] = {}
        self._ledger: Ledger | None = None

    def warm_up(self) -> None:
        """Run the network once at every batch size."""
        self._processor.warm_up(self._max_batch)

    async def restore(self, ledger: Ledger) -> None:
        """Load the frames that earlier processes of this replica started and did not finish."""
        self._ledger = ledger
        page = await load_previous_page(ledger, self.stats)
        if isinstance(page, InferencePage):
            self._unfinished = dict(page.attempts)

    async def work(self, inlet: Inlet, outlets: Sequence[Outlet], stop: asyncio.Event) -> None:
        """Process batches until `stop` is set; finish the batches that were read."""
        with ThreadPoolExecutor(1, "inference") as thread:
            async with task_group() as tasks:
                publishing: asyncio.Task[None] | None = None
                while not stop.is_set():
                    deliveries = await inlet.batch(self._max_batch, self._linger_s)
                    # A redelivered frame may have crashed the process before, so it runs alone.
                    redelivered = [delivery for delivery in deliveries if delivery.attempt > 1]
                    first = [delivery for delivery in deliveries if delivery.attempt <= 1]
                    if first:
                        items = await _extend(self._process(first, thread), deliveries)
                        # A batch may run while the previous one is being confirmed, but no further ahead.
                        if publishing is not None:
                            await _extend(publishing, deliveries)
                        publishing = tasks.create_task(_extend(self._publish(first, items, outlets), first))
                    if redelivered:
                        # No other message may be unconfirmed if one of these crashes the process.
                        if publishing is not None:
                            await _extend(publishing, redelivered)
                        await _extend(self._process_singly(redelivered, outlets, thread), redelivered)
        await inlet.close()

    async def _process(self, deliveries: Sequence[Delivery], thread: ThreadPoolExecutor) -> list[Item]:
        payloads = [delivery.payload for delivery in deliveries]
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(thread, self._processor.process, payloads, self._unfinished)

    async def _process_singly(
        self, deliveries: Sequence[Delivery], outlets: Sequence[Outlet], thread: ThreadPoolExecutor
    ) -> None:
        """Process each message alone and record its frame before inference."""
        run = partial(asyncio.get_running_loop().run_in_executor, thread)
        for delivery in deliveries:
            item = await run(self._processor.decode, delivery.payload, self._unfinished)
            if item.frame is not None:
                self._unfinished[item.name] = self._unfinished.get(item.name, 0) + 1
                await self._save_page()
                await run(self._processor.infer, [item])
            await self._publish([delivery], [item], outlets)
            self._unfinished.pop(item.name, None)

    async def _save_page(self) -> None:
        try:
            if self._ledger is not None:
                await self._ledger.save(self.page())
        except UnavailableError as error:
            # If the frame crashes the process now, the attempt is not counted.
            _log.debug("page not written: %s", error)

    async def _publish(self, deliveries: Sequence[Delivery], items: Sequence[Item], outlets: Sequence[Outlet]) -> None:
        async with task_group() as tasks:
            for delivery, item in zip(deliveries, items, strict=True):
                tasks.create_task(self._publish_one(delivery, item, outlets))

    async def _publish_one(self, delivery: Delivery, item: Item, outlets: Sequence[Outlet]) -> None:
        """Acknowledge a message after every outlet has confirmed its result."""
        if item.result:
            await publish(outlets, item.result, item.name)
        await delivery.ack(item.result or None)
        # The connection sends the acknowledgement when the event loop continues, so a process that is killed has
        # recorded every message that it has acknowledged.
        if self._frame_log is not None:
            _record(item, self._frame_log)
        self.stats.count("done")

    def page(self) -> InferencePage:
        """Return this replica's page of the ledger."""
        return InferencePage(
            process=self.stats.snapshot(),
            model=self._processor.model.name,
            backend=self._processor.backend.name,
            attempts=dict(self._unfinished),
        )


def _record(item: Item, frame_log: FrameLog) -> None:
    """Record a frame that this vertex has processed or rejected."""
    if item.frame is not None:
        frame_log.append(item.frame.id, PROCESSED, time.time_ns())
    elif item.rejection is not None:
        frame_log.append(item.rejection.id, rejected(Reason(item.rejection.reason)), time.time_ns())


async def _extend(work: Awaitable[T], deliveries: Sequence[Delivery]) -> T:
    """Return the result of `work`; while waiting, extend the deliveries that depend on it."""
    future = asyncio.ensure_future(work)
    try:
        while True:
            done, _ = await asyncio.wait({future}, timeout=_EXTEND_INTERVAL_S)
            if done:
                return future.result()
            for delivery in deliveries:
                await delivery.in_progress()
    finally:
        if future.cancel():
            await asyncio.wait({future})
