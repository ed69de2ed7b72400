"""Decoding, checking and inference of frames; runs on the inference thread."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.errors import Reason
from charon.frames import Frame, LatePosition, Patch, Rejection, WireError, decode, encode
from charon.ledger.states import rejected_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from charon.adapters.inference import Backend
    from charon.vertices.stats import Stats

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """Properties of the network.

    Parameters
    ----------
    name
        ``name@version``, written into every patch.
    input_shape
        (rows, columns) of the network's input.
    pixel_m
        Pixel size of its patches in m.
    phase, amplitude
        Names of the outputs; `amplitude` is None if the network has no such output.
    """

    name: str
    input_shape: tuple[int, int]
    pixel_m: float
    phase: str = "phase"
    amplitude: str | None = None


@dataclass(slots=True)
class Item:
    """A message that is being processed.

    Parameters
    ----------
    name
        Name under which the result is published.
    frame
        The frame to infer; None for any other message.
    result
        The encoded result; empty before inference and for an undecodable message.
    rejection
        The rejection, if this vertex has rejected the frame.
    """

    name: str = ""
    frame: Frame | None = None
    result: bytes = b""
    rejection: Rejection | None = None


@dataclass(slots=True)
class FrameProcessor:
    """Turns frames into patches, rejects bad frames and forwards other messages unchanged.

    Parameters
    ----------
    backend
        The loaded network.
    model
        Its properties.
    run
        Name of the run, written into every patch.
    stats
        Counters of the vertex.
    max_crashes
        Number of crashes on a frame after which it is rejected. Another frame of the batch may have caused the
        first one; the vertex runs a redelivered frame alone and records it before inference.
    delay_s
        Delay added to each batch, for trials of scaling.
    """

    backend: Backend
    model: ModelInfo
    run: str
    stats: Stats
    max_crashes: int = 3
    delay_s: float = 0.0

    def warm_up(self, max_batch: int) -> None:
        """Run the network once at every batch size, so that the first run delays no frame."""
        for size in range(1, max_batch + 1):
            self.backend.infer(np.ones((size, *self.model.input_shape), np.float32))

    def process(self, payloads: Sequence[bytes], crashes: Mapping[str, int]) -> list[Item]:
        """Return one item with its result for each message."""
        items = [self.decode(payload, crashes) for payload in payloads]
        frames = [item for item in items if item.frame is not None]
        if frames:
            self.infer(frames)
        return items

    def decode(self, payload: bytes, crashes: Mapping[str, int]) -> Item:
        """Decode and check a message; the item has a result unless its frame is to be inferred."""
        try:
            message = decode(payload)
        except WireError as error:
            # The message has no readable name, so it can only be logged and counted.
            _log.error("skipped an undecodable message: %s", error)
            self.stats.count("undecodable")
            return Item()
        if isinstance(message, LatePosition):
            return Item(message.name, result=payload)
        if not isinstance(message, Frame):
            return Item(message.id.name, result=payload)
        rejection = self._check(message, crashes)
        if rejection is None:
            return Item(message.id.name, message)
        self.stats.count(rejected_state(rejection.reason))
        self.stats.warn(rejection.detail)
        return Item(message.id.name, result=encode(rejection), rejection=rejection)

    def infer(self, items: Sequence[Item]) -> None:
        """Run the network on the items' frames and set their results."""
        frames = [item.frame for item in items if item.frame is not None]
        counts = np.empty((len(frames), *self.model.input_shape), np.float32)
        for row, frame in zip(counts, frames, strict=True):
            row[...] = frame.image
        started = time.perf_counter()
        outputs = self.backend.infer(counts)
        if self.delay_s:
            time.sleep(self.delay_s)
        self.stats.busy_s += time.perf_counter() - started
        self.stats.batches[len(items)] += 1
        inferred_ns = time.time_ns()
        for k, item in enumerate(items):
            item.result = encode(self._patch(frames[k], outputs, k, inferred_ns))

    def _check(self, frame: Frame, crashes: Mapping[str, int]) -> Rejection | None:
        detail, reason = "", Reason.SHAPE
        attempt = crashes.get(frame.id.name, 0) + 1
        if frame.image.shape != self.model.input_shape:
            rows, columns = self.model.input_shape
            detail = (
                f"image of {frame.image.shape[0]}x{frame.image.shape[1]} pixels; "
                f"{self.model.name} requires {rows}x{columns}"
            )
        elif attempt >= self.max_crashes:
            reason, detail = Reason.POISON, f"inference crashed {attempt} times on this frame"
        elif frame.image.dtype.kind == "f" and not _is_finite(frame.image):
            reason, detail = Reason.NOT_FINITE, "image contains values that are not finite"
        if not detail:
            return None
        detail = f"frame {frame.id.name}: {detail}"
        return Rejection(frame.id, reason, detail, "inference", frame.scan, frame.times_ns)

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


def _is_finite(image: NDArray[Any]) -> bool:
    """Return whether the image is finite as float32, the network's input type."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(image.astype(np.float32, copy=False)).all())
