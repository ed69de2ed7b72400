"""Which frames a sink has had: exact, and eight bytes a frame."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charon.frames import FrameId

_PAGE = 256
_FREE = -(1 << 63)


class SeenIds:
    """A set of frame names: channel, detector time and unique id.

    Detectors number frames one after the other, so times are kept in pages by unique id; a detector
    that has restarted gives a second time to the same number, which goes into a further page.
    """

    def __init__(self) -> None:
        self._pages: dict[tuple[str, int], list[array[int]]] = {}
        self._count = 0

    def __contains__(self, frame: FrameId) -> bool:
        page, place = divmod(frame.unique_id, _PAGE)
        return any(times[place] == frame.time_ns for times in self._pages.get((frame.channel, page), ()))

    def add(self, frame: FrameId) -> bool:
        """Add a name; return whether it was new."""
        page, place = divmod(frame.unique_id, _PAGE)
        layers = self._pages.setdefault((frame.channel, page), [])
        for times in layers:
            if times[place] == frame.time_ns:
                return False
            if times[place] == _FREE:
                break
        else:
            times = array("q", (_FREE,)) * _PAGE
            layers.append(times)
        times[place] = frame.time_ns
        self._count += 1
        return True

    def __len__(self) -> int:
        return self._count


class SeenTimes:
    """A set of detector times by channel, which come nearly in order."""

    def __init__(self) -> None:
        self._times: dict[str, array[int]] = {}

    def add(self, channel: str, time_ns: int) -> bool:
        """Add a time; return whether it was new."""
        times = self._times.setdefault(channel, array("q"))
        k = bisect_left(times, time_ns)
        if k < len(times) and times[k] == time_ns:
            return False
        times.insert(k, time_ns)
        return True

    def has(self, channel: str, time_ns: int) -> bool:
        """Return whether a time is in the set."""
        times = self._times.get(channel, array("q"))
        k = bisect_left(times, time_ns)
        return k < len(times) and times[k] == time_ns
