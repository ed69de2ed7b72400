"""Epochs: sequences of increasing uniqueId between two restarts of a detector."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charon.frames.model import FrameId


class EpochTracker:
    """Assigns the frames of one channel to epochs and recognises a repeated frame.

    After a restart, a detector numbers its frames from the beginning, at a later time of its own clock. A reader
    that reconnects receives the latest frame again, with the same ``uniqueId`` and time. A detector that processes
    several frames at once may publish them out of order: both the number and the time of such a frame are smaller.
    """

    def __init__(self) -> None:
        self._epoch_ns = 0
        self._last: FrameId | None = None
        self.restarts = 0

    @property
    def last(self) -> FrameId | None:
        """The latest frame, from which a restarted reader resumes."""
        return self._last

    def resume(self, last: FrameId) -> None:
        """Continue after the latest frame of a previous reader."""
        self._epoch_ns = last.epoch_ns
        self._last = last

    def assign(self, frame: FrameId) -> tuple[FrameId, bool]:
        """Return the frame with its epoch, and whether it repeats the latest frame."""
        last = self._last
        if last is not None and (frame.unique_id, frame.time_ns) == (last.unique_id, last.time_ns):
            return last, True
        if last is not None and self._is_out_of_order(frame, last):
            return replace(frame, epoch_ns=self._epoch_ns), False
        if last is None or frame.unique_id < last.unique_id or self._is_same_number_later(frame, last):
            self._epoch_ns = frame.time_ns
            self.restarts += last is not None
        self._last = replace(frame, epoch_ns=self._epoch_ns)
        return self._last, False

    @staticmethod
    def _is_same_number_later(frame: FrameId, last: FrameId) -> bool:
        return frame.unique_id == last.unique_id and frame.time_ns > last.time_ns

    def _is_out_of_order(self, frame: FrameId, last: FrameId) -> bool:
        return frame.unique_id < last.unique_id and 0 < self._epoch_ns <= frame.time_ns < last.time_ns
