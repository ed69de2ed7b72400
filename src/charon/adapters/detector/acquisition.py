"""Publishing frames on time: absolute deadlines, numbers and stamps as a detector gives them."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from charon.ledger.id_set import IdSet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from charon.adapters.detector.prefetch import Ahead
    from charon.frames import Position

FIRST_ID = 1
"""areaDetector counts its images from 1."""
_POLL_S = 0.2


class Output(Protocol):
    """Where frames go."""

    def post(self, item: Any, unique_id: int, time_ns: int) -> None:  # noqa: ANN401 - whatever was made ahead
        """Publish a frame that was made ahead."""
        ...

    def post_bad(self, item: Any, unique_id: int, time_ns: int, kind: str) -> None:  # noqa: ANN401
        """Publish a frame with a fault in it."""
        ...

    def restart(self) -> None:
        """Go away and come back, as a detector does that is started again."""
        ...


@dataclass(frozen=True)
class Plan:
    """What to publish, and what to do wrong on purpose.

    Parameters
    ----------
    rate_hz
        Frames a second.
    total
        Frames, those dropped included.
    runtime_s
        Stop after this time.
    drop
        Numbers of frames that are taken and never published: holes in ``uniqueId``.
    bad
        Kind of fault by number of frame.
    restart_at
        The detector restarts before it publishes the frame of this number; ``uniqueId`` begins again.
        Numbers count from 1 and go on over a restart.
    """

    rate_hz: float
    total: int
    runtime_s: float = float("inf")
    drop: frozenset[int] = frozenset()
    bad: Mapping[int, str] = field(default_factory=dict[int, str])
    restart_at: int | None = None


@dataclass
class Acquisition:
    """What was published between two restarts, by ``uniqueId``; late are frames more than a period behind."""

    ids: IdSet = field(default_factory=IdSet)
    dropped: IdSet = field(default_factory=IdSet)
    bad: dict[int, str] = field(default_factory=dict[int, str])
    late: int = 0
    first_time_ns: int = 0
    last_time_ns: int = 0

    def note(self, unique_id: int, time_ns: int) -> None:
        """Write down that a frame was published."""
        self.ids.add(unique_id)
        self.first_time_ns = self.first_time_ns or time_ns
        self.last_time_ns = time_ns


def acquire(
    frames: Ahead,
    output: Output,
    plan: Plan,
    stop: threading.Event,
    on_frame: Callable[[int, int], None] = lambda _number, _time_ns: None,
) -> list[Acquisition]:
    """Publish frames at their times until the plan is fulfilled or `stop` is set.

    Parameters
    ----------
    frames
        That are made ahead.
    output
        Where they go.
    plan
        How many, how fast, and which faults.
    stop
        Ends it after the current frame.
    on_frame
        Called after each frame with its number and time stamp in ns.

    Returns
    -------
    list of Acquisition
        One, and one more for each restart.
    """
    done = [Acquisition()]
    began = time.monotonic()
    paused_s = 0.0
    id_before_first = FIRST_ID - 1
    for number in range(1, plan.total + 1):
        if number == plan.restart_at:
            before = time.monotonic()
            output.restart()
            paused_s += time.monotonic() - before
            id_before_first = FIRST_ID - 1 - (number - 1)
            done.append(Acquisition())
        item = frames.take(number - 1, stop)
        # Deadlines count from the start, not from the frame before: a late frame does not delay the rest.
        offset_s = (number - 1) / plan.rate_hz
        due = began + paused_s + offset_s
        if offset_s >= plan.runtime_s or stop.wait(max(0.0, due - time.monotonic())):
            break
        unique_id = number + id_before_first
        if number in plan.drop:
            done[-1].dropped.add(unique_id)
            continue
        done[-1].late += time.monotonic() - due > 1 / plan.rate_hz
        time_ns = time.time_ns()
        if number in plan.bad:
            output.post_bad(item, unique_id, time_ns, plan.bad[number])
            done[-1].bad[unique_id] = plan.bad[number]
        else:
            output.post(item, unique_id, time_ns)
        done[-1].note(unique_id, time_ns)
        on_frame(number, time_ns)
    return done


class LatePositions:
    """Publishes each position some time after its frame, on a thread of its own.

    Parameters
    ----------
    post
        Publishes a position, (x, y) in m, with the time stamp of its frame.
    delay_s
        How long after its frame.
    """

    def __init__(self, post: Callable[[Position, int], None], delay_s: float) -> None:
        self._post = post
        self._delay_s = delay_s
        self._waiting: deque[tuple[float, Position, int]] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="late positions", daemon=True)
        self._thread.start()
        self.count = 0

    def add(self, position: Position, time_ns: int) -> None:
        """Take a position to be published later."""
        with self._changed:
            self._waiting.append((time.monotonic() + self._delay_s, position, time_ns))
            self._changed.notify_all()

    def close(self) -> None:
        """Publish those that still wait, each at its time, and return."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting:
                    if self._closing:
                        return
                    self._changed.wait(_POLL_S)
                due, position, time_ns = self._waiting.popleft()
            time.sleep(max(0.0, due - time.monotonic()))
            self._post(position, time_ns)
            self.count += 1
