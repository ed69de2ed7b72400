"""Cache of slow lookups, which run in background threads so that completion never waits for them."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")
_MAX_CONCURRENT = 4
_MAX_ENTRIES = 256


@dataclass(slots=True)
class _Entry:
    """Latest result of one lookup."""

    value: Any = None
    expires_s: float = 0.0
    running: bool = False
    ready: threading.Event = field(default_factory=threading.Event)


class LookupCache:
    """Runs lookups in background threads and caches their results.

    Parameters
    ----------
    ttl_s
        Time after which a result expires. An expired result is still returned while a new lookup runs.
    """

    def __init__(self, ttl_s: float = 10.0) -> None:
        self._ttl_s = ttl_s
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()
        self._running = 0

    def get(
        self, key: Hashable, look_up: Callable[[], T], *, deadline_s: float, ttl_s: float | None = None
    ) -> T | None:
        """Return the result of a lookup, None if there is none by the deadline.

        Parameters
        ----------
        key
            Identifies the lookup.
        look_up
            Computes the result; an exception counts as None.
        deadline_s
            Time on the monotonic clock until which to wait for the first result.
        ttl_s
            Expiry time of this result, instead of the cache's.
        """
        entry = self._entry(key, look_up, self._ttl_s if ttl_s is None else ttl_s)
        if entry is None:
            return None
        entry.ready.wait(max(0.0, deadline_s - time.monotonic()))
        return cast("T | None", entry.value)

    def _entry(self, key: Hashable, look_up: Callable[[], object], ttl_s: float) -> _Entry | None:
        """Return the entry of a key and start its lookup if it is missing or expired."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and (entry.running or time.monotonic() < entry.expires_s):
                return entry
            if self._running >= _MAX_CONCURRENT:
                return entry
            if entry is None:
                self._evict()
                entry = self._entries[key] = _Entry()
            entry.running = True
            self._running += 1
        threading.Thread(target=self._run, args=(entry, look_up, ttl_s), daemon=True).start()
        return entry

    def _run(self, entry: _Entry, look_up: Callable[[], object], ttl_s: float) -> None:
        value = None
        with suppress(Exception):  # completion works without this result, whatever failed
            value = look_up()
        with self._lock:
            entry.value, entry.expires_s, entry.running = value, time.monotonic() + ttl_s, False
            self._running -= 1
        entry.ready.set()

    def _evict(self) -> None:
        """Remove the oldest entry if the cache is full."""
        if len(self._entries) >= _MAX_ENTRIES:
            del self._entries[next(key for key, entry in self._entries.items() if not entry.running)]
