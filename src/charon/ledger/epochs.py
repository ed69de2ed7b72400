"""Epochs: runs of rising uniqueId, which a detector's restart ends."""

from __future__ import annotations

from dataclasses import replace

from charon.frames.model import FrameId


class EpochTracker:
    """Gives each frame of one channel its epoch, and knows a frame that came again.

    A detector that restarts begins its uniqueId again at a later time of its own clock. A reader that
    joins again is sent the latest frame once more, under the same uniqueId and time. A detector that works on
    several frames at once may publish them out of order: such a frame is the earlier one by both.
    """

    def __init__(self) -> None:
        self._epoch_ns = 0
        self._last: FrameId | None = None
        self.restarts = 0

    @property
    def last(self) -> list[int] | None:
        """The last frame's uniqueId, time and epoch, to go on from after a restart of the reader."""
        return None if self._last is None else [self._last.unique_id, self._last.time_ns, self._last.epoch_ns]

    def resume(self, channel: str, last: list[int]) -> None:
        """Go on after the frame that a predecessor saw last."""
        unique_id, time_ns, self._epoch_ns = last
        self._last = FrameId(channel, unique_id, time_ns, self._epoch_ns)

    def place(self, frame: FrameId) -> tuple[FrameId, bool]:
        """Return the frame with its epoch set, and whether it is the last one again."""
        last = self._last
        if last is not None and (frame.unique_id, frame.time_ns) == (last.unique_id, last.time_ns):
            return last, True
        if last is not None and self._overtaken(frame, last):
            return replace(frame, epoch_ns=self._epoch_ns), False
        if last is None or frame.unique_id < last.unique_id or self._same_number_later(frame, last):
            self._epoch_ns = frame.time_ns
            self.restarts += last is not None
        placed = replace(frame, epoch_ns=self._epoch_ns)
        self._last = placed
        return placed, False

    @staticmethod
    def _same_number_later(frame: FrameId, last: FrameId) -> bool:
        return frame.unique_id == last.unique_id and frame.time_ns > last.time_ns

    def _overtaken(self, frame: FrameId, last: FrameId) -> bool:
        return frame.unique_id < last.unique_id and 0 < self._epoch_ns <= frame.time_ns < last.time_ns
