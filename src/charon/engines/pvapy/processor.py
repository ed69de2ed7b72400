"""The processor that ``pvapy-hpc-consumer`` loads with ``--processor-file`` and ``--processor-class``."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.inference import open_backend
from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.adapters.prometheus.scrape import serve_text
from charon.adapters.pvaccess.consumer import ConsumerProcessor
from charon.engines.pvapy.consumer_counts import ConsumerCounts
from charon.engines.pvapy.figures import metrics_text
from charon.engines.pvapy.reconstructor import Reconstructor
from charon.errors import BadFrameError, Reason, UnavailableError, UsageError
from charon.ledger.frame_log import PROCESSED, RECEIVED, REPEATED, FrameLog, rejected
from charon.science.preprocess import Geometry
from charon.settings.baseline import read_consumer_settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from charon.adapters.inference import Backend
    from charon.adapters.pvaccess import RawUpdate
    from charon.frames import Frame, FrameId
    from charon.settings.baseline import ConsumerSettings

_log = logging.getLogger(__name__)


class PtychographyProcessor(ConsumerProcessor):
    """Crops, bins and infers frames, publishes the phase of each, and counts all of them."""

    def prepare(self, config: Mapping[str, Any]) -> None:
        """Load the network, and serve the metrics."""
        settings = read_consumer_settings(config)
        try:
            bundle = load_bundle(settings.model)
        except BundleError as error:
            raise UsageError(str(error)) from error
        threads = settings.threads or max(1, (os.cpu_count() or 1) // 2)
        self._start(
            settings,
            open_backend(settings.backend, bundle.model_path, threads=threads),
            Geometry(bundle.card.input.detector_shape, bundle.card.input.crop, bundle.card.input.binning),
            next(output.name for output in bundle.card.outputs if output.kind == "phase"),
        )
        if settings.metrics_port is not None:
            self._serve_metrics(settings, {"consumer": str(config.get("processorId", 1))})

    def _start(self, settings: ConsumerSettings, backend: Backend, geometry: Geometry, output: str) -> None:
        self.counts = ConsumerCounts(shared=settings.shared)
        self._geometry = geometry
        self._reconstructor = Reconstructor(
            backend, output, self._on_results, max_batch=settings.max_batch, queue_size=settings.queue_size
        )
        self._reconstructor.start(geometry.output_shape)
        # The supervisor waits for this file before it starts the mirror server.
        self._frame_log = None if settings.log is None else FrameLog(settings.log)

    def on_update(self, update: RawUpdate) -> None:
        """Check and pre-process an update, and pass its frame to inference."""
        try:
            frame_id = update.identify()
        except BadFrameError as error:
            _log.warning("ignored an update that is not a frame: %s", error.detail)
            return
        try:
            frame = update.frame()
            image = self._geometry.apply(frame.image)
            _require_finite(image)
        except BadFrameError as error:
            # The initial value of an area detector's channel has neither image nor time.
            if error.reason != Reason.EMPTY or frame_id.time_ns:
                self._reject(frame_id, error, update.received_ns)
            return
        if self._receive(frame_id, update.received_ns):
            self._reconstructor.submit(replace(frame, image=image))

    def finish(self) -> None:
        """Process the frames in the queue."""
        self._reconstructor.stop()
        figures = self.counts.figures()
        _log.info("received %d frames, processed %d", figures.received, figures.processed)

    def _receive(self, frame_id: FrameId, received_ns: int) -> bool:
        """Count and record a delivery; return whether the frame is new."""
        new = self.counts.receive(frame_id)
        self._record(frame_id, RECEIVED if new else REPEATED, received_ns)
        return new

    def _reject(self, frame_id: FrameId, error: BadFrameError, received_ns: int) -> None:
        if not self._receive(frame_id, received_ns):
            return
        _log.warning("rejected: frame %s: %s", frame_id.name, error.detail)
        self.counts.reject(error.reason)
        self._record(frame_id, rejected(error.reason), time.time_ns())

    def _on_results(self, frames: Sequence[Frame], phases: NDArray[np.float32]) -> None:
        """Publish a batch of results; called on the inference thread."""
        for frame, phase in zip(frames, phases, strict=True):
            self.publish(phase, frame)
            done_ns = time.time_ns()
            self.counts.publish([frame.id], done_ns)
            self._record(frame.id, PROCESSED, done_ns)

    def _record(self, frame_id: FrameId, outcome: int, done_ns: int) -> None:
        if self._frame_log is not None:
            self._frame_log.append(frame_id, outcome, done_ns, self._reconstructor.queued)

    def _serve_metrics(self, settings: ConsumerSettings, labels: Mapping[str, str]) -> None:
        """Serve the metrics on a thread, until the process exits.

        Raises
        ------
        UsageError
            If the port is in use.
        """
        started: list[str] = []
        ready = threading.Event()

        async def text() -> str:
            return metrics_text(self.counts.figures(self._reconstructor.queued), labels)

        async def serve() -> None:
            try:
                async with serve_text(text, host=settings.metrics_host, port=settings.metrics_port or 0) as port:
                    _log.info("metrics on port %d of %s", port, settings.metrics_host)
                    ready.set()
                    await asyncio.Event().wait()
            except UnavailableError as error:
                started.append(str(error))
                ready.set()

        threading.Thread(target=lambda: asyncio.run(serve()), name="metrics", daemon=True).start()
        ready.wait()
        if started:
            raise UsageError(f"{started[0]}; choose another metrics_port")


def _require_finite(image: NDArray[Any]) -> None:
    """Raise if a float image is not finite as float32, the network's input type."""
    if image.dtype.kind != "f":
        return
    with np.errstate(over="ignore"):
        finite = bool(np.isfinite(image.astype(np.float32, copy=False)).all())
    if not finite:
        raise BadFrameError(Reason.NOT_FINITE, "image contains values that are not finite")
