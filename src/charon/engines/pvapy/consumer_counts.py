"""Exact counts of the frames of one consumer, by ``uniqueId`` and detector time."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from charon.engines.pvapy.figures import Figures, RateMeter
from charon.ledger.epochs import EpochTracker
from charon.ledger.id_set import IdSet
from charon.science.latency import LatencyRecorder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.errors import Reason
    from charon.frames import FrameId


class ConsumerCounts:
    """Counts frames in memory that depends on the number of gaps, not on the number of frames.

    One thread may receive and reject while another counts results and a third reads the figures.

    Parameters
    ----------
    shared
        Whether other consumers receive a part of the frames, so that a gap is not a missed frame.
    """

    def __init__(self, *, shared: bool = False) -> None:
        self._shared = shared
        self._tracker = EpochTracker()
        self._received: dict[int, IdSet] = {}
        self._processed = 0
        self._duplicates = 0
        self._rejected: Counter[str] = Counter()
        self._latency = LatencyRecorder()
        self._rate = RateMeter()
        self._lock = threading.Lock()

    def receive(self, frame: FrameId) -> bool:
        """Count a frame; return False if it was received before."""
        with self._lock:
            in_epoch, repeats_latest = self._tracker.assign(frame)
            ids = self._received.setdefault(in_epoch.epoch_ns, IdSet())
            new = not repeats_latest and ids.add(frame.unique_id)
            self._duplicates += not new
            return new

    def reject(self, reason: Reason) -> None:
        """Count a received frame as rejected."""
        with self._lock:
            self._rejected[str(reason)] += 1

    def publish(self, frames: Sequence[FrameId], done_ns: int) -> None:
        """Count received frames whose results were published at a time, ns since 1970."""
        with self._lock:
            self._processed += len(frames)
            self._rate.add(done_ns, len(frames))
            for frame in frames:
                if frame.time_ns:
                    self._latency.add(done_ns - frame.time_ns)

    def figures(self, queued: int = 0) -> Figures:
        """Return the figures; `queued` is the number of frames that wait for inference."""
        with self._lock:
            return Figures(
                received=sum(len(ids) for ids in self._received.values()),
                processed=self._processed,
                missed=None if self._shared else sum(len(ids.gaps()) for ids in self._received.values()),
                rejected=dict(self._rejected),
                duplicates=self._duplicates,
                rate_hz=self._rate.rate_hz(),
                queued=queued,
                latency=self._latency.latency(),
            )
