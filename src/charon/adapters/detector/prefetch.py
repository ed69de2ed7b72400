"""Frames made ahead of their time, so that making one never delays another."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_MEASURED_OVER_S = 0.5
# What other processes may take from the thread that makes frames, once the pipeline is busy.
_CAUTION = 0.8
_POLL_S = 0.05


class Ahead:
    """Makes items 0, 1, 2, ... in a thread of its own and keeps them until they are taken.

    Parameters
    ----------
    make
        Makes item i; it is called in order.
    count
        Different items; item ``count + i`` is item i again.
    total
        How many will be taken.
    capacity
        How many are held at most. Where all different items fit, each is made once.
    """

    def __init__(self, make: Callable[[int], Any], *, count: int, total: int, capacity: int) -> None:
        self._make = make
        self._count = count
        self._total = total
        self._keep = count <= capacity
        self._to_make = min(count, total) if self._keep else total
        self._capacity = max(1, capacity)
        self._items: dict[int, Any] = {}
        self._made = 0
        self._first_kept = 0
        self._seconds_making = 0.0
        self._changed = threading.Condition()
        self._closed = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="frames ahead", daemon=True)

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
    def made(self) -> int:
        """How many were made so far."""
        return self._made

    @property
    def made_per_s(self) -> float:
        """How fast items are made, by the time that making them took; 0 before the first."""
        return self._made / self._seconds_making if self._seconds_making else 0.0

    def wait_until_safe(self, per_s: float, stop: threading.Event, longest_s: float = math.inf) -> bool:
        """Wait until items taken at a rate will not catch up with those that are made, or nothing more fits.

        Parameters
        ----------
        per_s
            The rate.
        stop
            Ends the wait.
        longest_s
            Ends it as well.

        Returns
        -------
        bool
            Whether it is safe.
        """
        end = time.monotonic() + longest_s
        with self._changed:
            while not (stop.is_set() or self._failed() or self._is_safe(per_s)):
                if time.monotonic() >= end:
                    return False
                self._changed.wait(_POLL_S)
        return True

    def wait_for_all(self, stop: threading.Event) -> None:
        """Return when all were made, or nothing more fits."""
        with self._changed:
            while not (stop.is_set() or self._failed() or self._is_done()):
                self._changed.wait(_POLL_S)

    def take(self, number: int, stop: threading.Event) -> Any:  # noqa: ANN401 - whatever `make` makes
        """Return an item, when it is made; None if `stop` was set first. Numbers rise from call to call."""
        key = number % self._count if self._keep else number
        with self._changed:
            while key not in self._items:
                if stop.is_set() or self._failed():
                    return None
                self._changed.wait(_POLL_S)
            item = self._items[key]
            if not self._keep:
                for gone in range(self._first_kept, number + 1):
                    self._items.pop(gone, None)
                self._first_kept = number + 1
                self._changed.notify_all()
            return item

    def _failed(self) -> bool:
        if self._failure is not None:
            raise self._failure
        return False

    def _is_done(self) -> bool:
        return self._made >= self._to_make or len(self._items) >= self._capacity

    def _is_safe(self, per_s: float) -> bool:
        if self._is_done():
            return True
        if self._seconds_making < _MEASURED_OVER_S:
            return False
        # While the rest is taken, made_per_s / per_s of it is made; what that leaves has to be there before.
        needed = self._to_make * (1.0 - _CAUTION * self.made_per_s / per_s)
        return self._made >= needed

    def _run(self) -> None:
        try:
            for number in range(self._to_make):
                with self._changed:
                    while not self._closed and len(self._items) >= self._capacity:
                        self._changed.wait()
                    if self._closed:
                        return
                began = time.perf_counter()
                item = self._make(number % self._count)
                took = time.perf_counter() - began
                with self._changed:
                    self._items[number] = item
                    self._made += 1
                    self._seconds_making += took
                    self._changed.notify_all()
        except BaseException as error:  # noqa: BLE001 - it is raised where the items are taken
            with self._changed:
                self._failure = error
                self._changed.notify_all()
