"""Publish frames at absolute deadlines, with ids and time stamps as a detector sets them."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from charon.adapters.simulator.prefetch import Prefetcher
    from charon.frames import Position

FIRST_ID = 1
"""areaDetector counts images from 1."""
_POLL_INTERVAL_S = 0.2


class Output(Protocol):
    """Publishes prepared frames."""

    def post(self, item: Any, unique_id: int, time_ns: int) -> None:  # noqa: ANN401 - the prefetcher's items
        """Publish a frame."""
        ...

    def post_faulty(self, item: Any, unique_id: int, time_ns: int, fault: str) -> None:  # noqa: ANN401
        """Publish a frame with a fault."""
        ...

    def restart(self) -> None:
        """Disconnect all clients and start again, like a restarted detector."""
        ...


@dataclass(frozen=True)
class Plan:
    """Number, rate and deliberate faults of the frames to publish.

    Parameters
    ----------
    rate_hz
        Frames per second.
    total
        Number of frames, including dropped ones.
    runtime_s
        Time limit.
    drop
        Numbers of frames that are not published, which leaves gaps in ``uniqueId``.
    faults
        Fault by frame number.
    restart_at
        Number of the frame before which the detector restarts, so that ``uniqueId`` starts again. Frame numbers
        start from 1 and continue after a restart.
    """

    rate_hz: float
    total: int
    runtime_s: float = float("inf")
    drop: frozenset[int] = frozenset()
    faults: Mapping[int, str] = field(default_factory=dict[int, str])
    restart_at: int | None = None


@dataclass
class Acquisition:
    """Frames published between two restarts, by ``uniqueId``; `late` counts frames delayed by more than one period."""

    ids: IdSet = field(default_factory=IdSet)
    dropped: IdSet = field(default_factory=IdSet)
    faults: dict[int, str] = field(default_factory=dict[int, str])
    late: int = 0
    first_time_ns: int = 0
    last_time_ns: int = 0

    def record(self, unique_id: int, time_ns: int) -> None:
        """Record a published frame."""
        self.ids.add(unique_id)
        self.first_time_ns = self.first_time_ns or time_ns
        self.last_time_ns = time_ns


def acquire(
    frames: Prefetcher,
    output: Output,
    plan: Plan,
    stop: threading.Event,
    on_frame: Callable[[int, int], None] = lambda _number, _time_ns: None,
) -> list[Acquisition]:
    """Publish frames at their deadlines until the plan is complete or `stop` is set.

    Parameters
    ----------
    frames
        Prepared frames.
    output
        Publishes them.
    plan
        Their number, rate and faults.
    stop
        Ends the acquisition after the current frame.
    on_frame
        Called after each frame with its number and its time stamp in ns.

    Returns
    -------
    list of Acquisition
        One per run of the detector: one more than the number of restarts.
    """
    acquisitions = [Acquisition()]
    started_s = time.monotonic()
    paused_s = 0.0
    id_before_first = FIRST_ID - 1
    for number in range(1, plan.total + 1):
        if number == plan.restart_at:
            restart_s = time.monotonic()
            output.restart()
            paused_s += time.monotonic() - restart_s
            id_before_first = FIRST_ID - 1 - (number - 1)
            acquisitions.append(Acquisition())
        item = frames.get(number - 1, stop)
        # Deadlines are relative to the start, not to the previous frame, so that a late frame delays no other.
        offset_s = (number - 1) / plan.rate_hz
        due_s = started_s + paused_s + offset_s
        if offset_s >= plan.runtime_s or stop.wait(max(0.0, due_s - time.monotonic())):
            break
        unique_id = number + id_before_first
        if number in plan.drop:
            acquisitions[-1].dropped.add(unique_id)
            continue
        acquisitions[-1].late += time.monotonic() - due_s > 1 / plan.rate_hz
        time_ns = time.time_ns()
        if number in plan.faults:
            output.post_faulty(item, unique_id, time_ns, plan.faults[number])
            acquisitions[-1].faults[unique_id] = plan.faults[number]
        else:
            output.post(item, unique_id, time_ns)
        acquisitions[-1].record(unique_id, time_ns)
        on_frame(number, time_ns)
    return acquisitions


class LatePositionPublisher:
    """Publishes each position with a delay after its frame, on its own thread.

    Parameters
    ----------
    post
        Publishes a position, (x, y) in m, with the time stamp of its frame.
    delay_s
        Delay after the frame.
    """

    def __init__(self, post: Callable[[Position, int], None], delay_s: float) -> None:
        self._post = post
        self._delay_s = delay_s
        self._pending: deque[tuple[float, Position, int]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="late positions", daemon=True)
        self._thread.start()
        self.count = 0

    def add(self, position: Position, time_ns: int) -> None:
        """Schedule a position for publishing."""
        with self._changed:
            self._pending.append((time.monotonic() + self._delay_s, position, time_ns))
            self._changed.notify_all()

    def close(self) -> None:
        """Publish the pending positions at their times, then return."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._pending:
                    if self._closing:
                        return
                    self._changed.wait(_POLL_INTERVAL_S)
                due_s, position, time_ns = self._pending.popleft()
            time.sleep(max(0.0, due_s - time.monotonic()))
            self._post(position, time_ns)
            self.count += 1
