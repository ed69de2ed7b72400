"""The cache returns results in time or None, and never blocks beyond the deadline."""

from __future__ import annotations

import threading
import time

from charon.cli.shell.lookup_cache import LookupCache


def after(seconds=30.0):
    return time.monotonic() + seconds


def test_result_in_time_is_returned_and_cached():
    cache, calls = LookupCache(), []

    def look_up():
        calls.append(1)
        return ["x"]

    assert cache.get("k", look_up, deadline_s=after()) == ["x"]
    assert cache.get("k", look_up, deadline_s=after()) == ["x"]
    assert len(calls) == 1


def test_late_result_is_none_first_and_then_cached():
    cache, release = LookupCache(), threading.Event()

    def look_up():
        release.wait(30)
        return "late"

    assert cache.get("k", look_up, deadline_s=after(0.05)) is None
    # It has returned although the lookup still runs.
    assert cache._entries["k"].running
    release.set()
    assert cache.get("k", lambda: "other", deadline_s=after()) == "late"


def test_expired_result_is_returned_during_refresh():
    cache, release = LookupCache(ttl_s=0.0), threading.Event()
    assert cache.get("k", lambda: 1, deadline_s=after()) == 1
    time.sleep(0.01)

    def look_up():
        release.wait(10)
        return 2

    assert cache.get("k", look_up, deadline_s=after()) == 1
    release.set()
    end = after()
    while cache.get("k", lambda: 2, deadline_s=after(0)) != 2:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_failed_lookup_is_none():
    def look_up():
        raise OSError("unavailable")

    assert LookupCache().get("k", look_up, deadline_s=after()) is None


def test_concurrent_lookups_are_limited():
    cache, release, calls = LookupCache(), threading.Event(), []

    def look_up():
        calls.append(1)
        release.wait(10)
        return 1

    for key in range(20):
        assert cache.get(key, look_up, deadline_s=after(0)) is None
    assert len(calls) <= 4
    release.set()
    end = after()
    while cache.get("last", lambda: 1, deadline_s=after(0.05)) != 1:
        assert time.monotonic() < end


def test_oldest_entries_are_evicted(monkeypatch):
    # Each lookup starts a thread, which needs long on a busy machine: fill a small cache.
    monkeypatch.setattr("charon.cli.shell.lookup_cache._MAX_ENTRIES", 8)
    cache = LookupCache(ttl_s=0.0)
    for key in range(20):
        assert cache.get(key, lambda: 1, deadline_s=after()) == 1
    assert list(cache._entries) == list(range(12, 20))
