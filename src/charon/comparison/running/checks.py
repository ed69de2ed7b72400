"""Checks before a cell runs: its model bundle, the packages that it requires, and its memory."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

import psutil

from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.comparison.running.detector import SCAN_POINTS

if TYPE_CHECKING:
    from charon.adapters.inference.bundle import Bundle
    from charon.comparison.model import Condition

_DETECTOR_PIXEL_BYTES = 2
_INPUT_PIXEL_BYTES = 4
_WORKER_BYTES = 350 << 20
_PROGRAM_BYTES = 120 << 20
_OTHER_PROGRAMS = 5
_QUEUED_UPDATES = 500
"""Updates in the monitors' queues of the detector and of a mirror server."""

_MAX_BUFFERED = 24_000
"""Frames in a full buffer of the pipeline."""


def available_bytes() -> int:
    """Return the memory that new processes can use without swapping."""
    return psutil.virtual_memory().available


def obstacle(condition: Condition, memory_bytes: int) -> str | None:
    """Return why a cell cannot run, in one line; None if nothing prevents it.

    Parameters
    ----------
    condition
        Its condition.
    memory_bytes
        Available memory.
    """
    if find_spec("pvapy") is None:
        return "PvaPy is not installed; run: pip install pvapy"
    try:
        bundle = load_bundle(condition.model)
    except BundleError as error:
        return str(error)
    required = bundle.card.input.detector_shape
    if required != condition.shape:
        return f"model {condition.model!r} requires frames of {_size(required)} pixels, not {_size(condition.shape)}"
    needed_bytes = required_bytes(condition, bundle)
    if needed_bytes > memory_bytes:
        return (
            f"the cell requires {needed_bytes >> 20} MiB of memory, and {max(0, memory_bytes) >> 20} MiB are available;"
            " reduce the replicas, the rate or the duration"
        )
    return None


def required_bytes(condition: Condition, bundle: Bundle) -> int:
    """Return an estimate of the memory of all processes of a cell.

    All frames can be waiting at the same time: in the buffers of the pipeline, or in the queues of the consumers.
    """
    rows, columns = condition.shape
    frame_bytes = rows * columns * _DETECTOR_PIXEL_BYTES
    input_rows, input_columns = bundle.card.input.shape
    input_bytes = input_rows * input_columns * _INPUT_PIXEL_BYTES
    programs = condition.replicas * _WORKER_BYTES + _OTHER_PROGRAMS * _PROGRAM_BYTES
    detector = (min(condition.frames, SCAN_POINTS) + min(condition.frames, _QUEUED_UPDATES)) * frame_bytes
    if condition.engine == "embedded":
        waiting = min(condition.frames, _MAX_BUFFERED) * input_bytes
    else:
        queued = min(condition.frames, condition.setting.queue_size) * condition.replicas
        waiting = queued * (frame_bytes + input_bytes)
    return programs + detector + waiting


def _size(shape: tuple[int, int]) -> str:
    return f"{shape[0]}x{shape[1]}"
