"""Inference in batches on a thread of its own; PvaPy passes one update at a time."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from charon.adapters.inference import Backend
    from charon.frames import Frame

_log = logging.getLogger(__name__)


class Reconstructor:
    """Infers submitted frames and delivers their phases.

    A batch contains the frames that have arrived while the previous batch ran. Nothing waits for a batch to fill.

    Parameters
    ----------
    backend
        The loaded network.
    output
        Name of the network's phase output.
    on_results
        Called on the thread with the frames of a batch and their phases, (n, rows, columns) float32.
    max_batch
        Maximum number of frames in a batch.
    queue_size
        Maximum number of frames that wait; `submit` blocks while the queue is full.
    """

    def __init__(
        self,
        backend: Backend,
        output: str,
        on_results: Callable[[Sequence[Frame], NDArray[np.float32]], None],
        *,
        max_batch: int,
        queue_size: int,
    ) -> None:
        self._backend = backend
        self._output = output
        self._on_results = on_results
        self._max_batch = max_batch
        self._queue: queue.Queue[Frame | None] = queue.Queue(queue_size)
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)

    @property
    def queued(self) -> int:
        """Number of frames that wait."""
        return self._queue.qsize()

    def start(self, input_shape: tuple[int, int]) -> None:
        """Run the network once at every batch size, so that the first frames do not wait, and start the thread."""
        for size in range(1, self._max_batch + 1):
            self._backend.infer(np.ones((size, *input_shape), np.float32))
        self._thread.start()

    def submit(self, frame: Frame) -> None:
        """Add a frame with a pre-processed image to the queue."""
        self._queue.put(frame)

    def stop(self) -> None:
        """Process the frames in the queue and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while batch := self._next_batch():
                outputs = self._backend.infer(np.stack([frame.image for frame in batch]).astype(np.float32, copy=False))
                self._on_results(batch, outputs[self._output])
        except Exception:  # noqa: BLE001 - logged, and the process exits
            _log.exception("inference failed")
            # PvaPy would log the errors of later updates and continue; the supervisor restarts the process instead.
            os._exit(1)

    def _next_batch(self) -> list[Frame]:
        """Return at least one frame, or none at the end."""
        batch: list[Frame] = []
        while len(batch) < self._max_batch:
            try:
                frame = self._queue.get(block=not batch)
            except queue.Empty:
                break
            if frame is None:
                if batch:
                    self._queue.put(None)
                break
            batch.append(frame)
        return batch
