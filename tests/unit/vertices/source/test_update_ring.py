"""The ring is bounded, keeps the order of updates, and wakes the event loop from another thread."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

from vertex_fakes import FakeUpdate

from charon.frames import LatePosition
from charon.vertices.source.ring import MissedRange, UpdateRing
from charon.vertices.stats import Stats

CHANNEL = "ad:image"


def _drain(ring):
    updates = []
    while batch := ring.pop_batch():
        updates += batch
    return updates


def test_full_ring_keeps_missed_ranges_in_order():
    ring = UpdateRing(CHANNEL, 64 * 8, Stats())
    ring.resize(8)
    for n in [*range(1, 65), 65, 66, 70]:
        ring.put(FakeUpdate(n))
    *updates, first, second = _drain(ring)
    assert [update.id.unique_id for update in updates] == list(range(1, 65))
    assert isinstance(first, MissedRange)
    assert (first.first.unique_id, first.last.unique_id) == (65, 66)
    assert (second.first.unique_id, second.last.unique_id) == (70, 70)


def test_missed_range_ends_at_gap_or_earlier_time():
    missed = MissedRange(FakeUpdate(1).id, FakeUpdate(1).id)
    assert missed.extend(FakeUpdate(2).id)
    assert not missed.extend(FakeUpdate(4).id)
    assert not missed.extend(FakeUpdate(3, time_ns=1).id)
    assert missed.last.unique_id == 2


def test_overflow_is_logged_once_until_empty(caplog):
    ring = UpdateRing(CHANNEL, 0, Stats())
    ring.resize(8)
    with caplog.at_level(logging.WARNING):
        for n in range(1, 201):
            ring.put(FakeUpdate(n))
        assert len(caplog.records) == 1
        _drain(ring)
        for n in range(201, 401):
            ring.put(FakeUpdate(n))
    assert len(caplog.records) == 2


def test_batches_are_small():
    ring = UpdateRing(CHANNEL, 2**20, Stats())
    for n in range(20):
        ring.put(FakeUpdate(n))
    assert len(ring) == 20
    assert [len(ring.pop_batch()) for _ in range(4)] == [8, 8, 4, 0]


def test_positions_are_separate_from_updates():
    ring = UpdateRing(CHANNEL, 2**20, Stats())
    position = LatePosition(CHANNEL, 1, (0.0, 0.0))
    ring.put(FakeUpdate(1))
    ring.put_position(position)
    assert (len(ring), ring.backlog) == (1, 2)
    assert ring.pop_positions() == [position]
    assert (len(ring), ring.backlog) == (1, 1)


def test_put_wakes_the_event_loop():
    async def run():
        ring = UpdateRing(CHANNEL, 2**20, Stats())
        ring.attach()
        timer = threading.Timer(0.02, ring.put, [FakeUpdate(1)])
        timer.start()
        started = time.monotonic()
        while not ring.backlog:
            await ring.wait()
        timer.join()
        return time.monotonic() - started

    assert asyncio.run(run()) < 1.0
