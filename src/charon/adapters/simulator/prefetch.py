"""Prepare frames in advance, so that publishing does not wait for their computation."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_MIN_MEASUREMENT_S = 0.5
# A busy pipeline slows down the thread that prepares frames.
_RATE_MARGIN = 0.8
_POLL_INTERVAL_S = 0.05


class Prefetcher:
    """Prepares items 0, 1, 2, ... in its own thread and keeps them until they are read.

    Parameters
    ----------
    make
        Prepares item i; called in order.
    count
        Number of different items; item ``count + i`` equals item i.
    total
        Number of items that will be read.
    capacity
        Maximum number of prepared items. If all different items fit, each is prepared once.
    """

    def __init__(self, make: Callable[[int], Any], *, count: int, total: int, capacity: int) -> None:
        self._make = make
        self._count = count
        self._total = total
        self._reuse = count <= capacity
        self._target = min(count, total) if self._reuse else total
        self._capacity = max(1, capacity)
        self._items: dict[int, Any] = {}
        self._ready = 0
        self._first_index = 0
        self._busy_s = 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="prefetch frames", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()

    @property
    def ready(self) -> int:
        """Number of items prepared so far."""
        return self._ready

    @property
    def rate_hz(self) -> float:
        """Items per second of computation; 0 before the first item."""
        return self._ready / self._busy_s if self._busy_s else 0.0

    def wait_until_safe(self, read_rate_hz: float, stop: threading.Event, timeout_s: float = math.inf) -> bool:
        """Wait until a reader cannot overtake the preparation of items, or the capacity is used up.

        Parameters
        ----------
        read_rate_hz
            Items per second that the reader reads.
        stop
            Ends the wait.
        timeout_s
            Limit of the wait.

        Returns
        -------
        bool
            False if the wait timed out.
        """
        end_s = time.monotonic() + timeout_s
        with self._changed:
            while not stop.is_set():
                self._raise_failure()
                if self._is_safe(read_rate_hz):
                    break
                if time.monotonic() >= end_s:
                    return False
                self._changed.wait(_POLL_INTERVAL_S)
        return True

    def wait_for_all(self, stop: threading.Event) -> None:
        """Wait until all items are prepared, or the capacity is used up."""
        with self._changed:
            while not (stop.is_set() or self._is_done()):
                self._raise_failure()
                self._changed.wait(_POLL_INTERVAL_S)

    def get(self, number: int, stop: threading.Event) -> Any:  # noqa: ANN401 - the result of `make`
        """Wait for an item and return it, None if `stop` is set first; numbers must increase from call to call."""
        key = number % self._count if self._reuse else number
        with self._changed:
            while key not in self._items:
                if stop.is_set():
                    return None
                self._raise_failure()
                self._changed.wait(_POLL_INTERVAL_S)
            item = self._items[key]
            if not self._reuse:
                for index in range(self._first_index, number + 1):
                    self._items.pop(index, None)
                self._first_index = number + 1
                self._changed.notify_all()
            return item

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _is_done(self) -> bool:
        return self._ready >= self._target or len(self._items) >= self._capacity

    def _is_safe(self, read_rate_hz: float) -> bool:
        if self._is_done():
            return True
        if self._busy_s < _MIN_MEASUREMENT_S:
            return False
        # While the reader reads all items, this fraction of them is prepared; the others must be ready beforehand.
        needed = self._target * (1.0 - _RATE_MARGIN * self.rate_hz / read_rate_hz)
        return self._ready >= needed

    def _run(self) -> None:
        try:
            for number in range(self._target):
                with self._changed:
                    while not self._closed and len(self._items) >= self._capacity:
                        self._changed.wait()
                    if self._closed:
                        return
                started_s = time.perf_counter()
                item = self._make(number % self._count)
                duration_s = time.perf_counter() - started_s
                with self._changed:
                    self._items[number] = item
                    self._ready += 1
                    self._busy_s += duration_s
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - raised again in the reader's thread
            with self._changed:
                self._failure = error
                self._changed.notify_all()
