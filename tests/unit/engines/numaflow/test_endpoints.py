"""Endpoints stop a vertex when its messages are delivered, or when Numaflow's container is gone."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("pynumaflow", reason="pynumaflow is not installed: pip install pynumaflow")

from charon.engines.numaflow import endpoints
from charon.engines.numaflow.endpoints import PodEndpoints
from charon.engines.numaflow.outbox import Outbox
from charon.engines.numaflow.request_queue import RequestQueue


@pytest.fixture(autouse=True)
def _short_times(monkeypatch):
    monkeypatch.setattr(endpoints, "_POLL_INTERVAL_S", 0.01)
    monkeypatch.setattr(endpoints, "_SILENCE_TIMEOUT_S", 0.1)


async def _drain(endpoint, running, limit_s=5.0):
    stop = asyncio.Event()
    await asyncio.wait_for(endpoint.drain(running, stop, limit_s), 5)
    assert stop.is_set()


def test_source_without_reader_is_cancelled(tmp_path):
    async def run():
        warnings = []
        endpoint = PodEndpoints(tmp_path, warnings.append).source(lambda: 3)
        running = asyncio.create_task(asyncio.sleep(20))
        await _drain(endpoint, running)
        await asyncio.wait({running})
        assert running.cancelled()
        return warnings

    assert asyncio.run(run()) == ["ended with 3 frames that Numaflow has not acknowledged"]


def test_source_with_reader_drains_until_the_limit(tmp_path):
    async def run():
        warnings = []
        endpoint = PodEndpoints(tmp_path, warnings.append).source(lambda: 1)
        (outbox,) = endpoint.outlets
        assert isinstance(outbox, Outbox)
        outbox.open_reader()
        running = asyncio.create_task(asyncio.sleep(20))
        loop = asyncio.get_running_loop()
        started = loop.time()
        await _drain(endpoint, running, 0.4)
        await asyncio.wait({running})
        assert loop.time() - started > 0.35
        return warnings

    assert len(asyncio.run(run())) == 1


@pytest.mark.parametrize("kind", ["inference", "sink"])
def test_requests_are_completed_before_the_stop(tmp_path, kind):
    async def run():
        endpoint = getattr(PodEndpoints(tmp_path, print), kind)()
        (queue,) = endpoint.inlets
        assert isinstance(queue, RequestQueue)
        queue.streams = 1
        queue.put(b"1")
        running = asyncio.create_task(asyncio.sleep(20))
        draining = asyncio.create_task(_drain(endpoint, running))
        await asyncio.sleep(0.2)
        assert not draining.done()
        (request,) = await queue.batch(8, 0.0)
        await request.ack()
        await draining
        running.cancel()

    asyncio.run(run())
