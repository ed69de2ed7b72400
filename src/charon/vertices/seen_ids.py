"""Exact sets of the frames that a sink has received, in eight bytes per frame."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

from charon.frames.fields import INT64

if TYPE_CHECKING:
    from charon.frames import FrameId

_PAGE_ROWS = 256
_EMPTY = INT64.start - 1


class SeenIds:
    """A set of frame ids: channel, detector time and ``uniqueId``.

    Detectors number frames consecutively, so the times are stored in pages by ``uniqueId``. A
    restarted detector reuses numbers at later times, which are stored in another page for the same numbers.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int], list[array[int]]] = {}
        self._count = 0

    def __contains__(self, frame: FrameId) -> bool:
        page, row = divmod(frame.unique_id, _PAGE_ROWS)
        return any(times[row] == frame.time_ns for times in self._pages.get((frame.channel, page), ()))

    def add(self, frame: FrameId) -> bool:
        """Add a frame; return whether it was new."""
        page, row = divmod(frame.unique_id, _PAGE_ROWS)
        layers = self._pages.setdefault((frame.channel, page), [])
        for times in layers:
            if times[row] == frame.time_ns:
                return False
            if times[row] == _EMPTY:
                break
        else:
            times = array("q", (_EMPTY,)) * _PAGE_ROWS
            layers.append(times)
        times[row] = frame.time_ns
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count


class SeenTimes:
    """Sets of detector times by channel, for times that arrive nearly in order."""

    def __init__(self) -> None:
        self._times: dict[str, array[int]] = {}

    def add(self, channel: str, time_ns: int) -> bool:
        """Add a time; return whether it was new."""
        times = self._times.setdefault(channel, array("q"))
        index = bisect_left(times, time_ns)
        if index < len(times) and times[index] == time_ns:
            return False
        times.insert(index, time_ns)
        return True

    def has(self, channel: str, time_ns: int) -> bool:
        """Return whether a time is in the set."""
        times = self._times.get(channel, array("q"))
        index = bisect_left(times, time_ns)
        return index < len(times) and times[index] == time_ns
