"""Inference and sinks on Numaflow return one correct response to every message."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from numaflow_client import DROP, MapClient, SinkClient
from pynumaflow.proto.sinker import sink_pb2

from charon.frames import Frame, FrameId, LatePosition, Patch, Rejection, decode, encode
from loopback import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
TIME_NS = 1_700_000_000_000_000_000
NETWORK = ("--threads", "1")
# Written when a batch is in processing.
ATTEMPTS = "charon-delivery-attempts.json"


def _frame(number, shape=(128, 128), dtype=np.int16):
    image = np.random.default_rng(number).poisson(3.0, shape).astype(dtype)
    frame_id = FrameId("ad:image", number, TIME_NS + number * 10_000_000, TIME_NS)
    return encode(Frame(frame_id, image, scan="scan-1", position_m=(number * 1e-7, 0.0)))


def _patch(number, size=32):
    phase = np.full((size, size), 0.1 * number, np.float32)
    frame_id = FrameId("ad:image", number, TIME_NS + number, TIME_NS)
    return encode(Patch(frame_id, "aps", phase, 1e-8, "net@1", scan="scan-1", position_m=(number * 1e-7, 0.0)))


def _decoded(responses):
    """Return the decoded results by id; each id must have one response."""
    assert len({number for number, _ in responses}) == len(responses)
    return {number: [_decode(result.value) for result in results] for number, results in responses}


def _decode(payload) -> Any:
    return decode(payload)


def _restart(pod):
    """Start a killed container again and wait until it has removed the earlier one's information file."""
    pod.start()
    deadline = time.monotonic() + 60
    while (pod.sockets / "mapper-server-info").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _page(pod, vertex):
    return json.loads((pod.sockets / f"charon-page-{vertex}.0.json").read_text())


@pytest.fixture
def inference(pods):
    """Return a function that starts inference."""
    return lambda *options, **more: pods("cat", "inference", *NETWORK, *options, **more)


def test_batches_of_any_size_are_complete(inference):
    pod = inference()

    async def run():
        async with MapClient(pod.sockets) as client:
            number = 0
            for size in (1, 3, 8, 20, 1, 8):
                batch = [(f"{number + k}-0", _frame(number + k)) for k in range(size)]
                responses = _decoded(await client.map(batch))
                assert set(responses) == {name for name, _ in batch}
                for name, payload in batch:
                    (patch,) = responses[name]
                    assert isinstance(patch, Patch)
                    assert patch.id == _decode(payload).id
                number += size

    asyncio.run(run())


def test_every_kind_of_message_has_a_response(inference):
    pod = inference()
    position = LatePosition("ad:image", TIME_NS, (1e-6, 2e-6))
    not_finite = np.full((128, 128), np.nan, np.float32)
    batch = [
        ("1-0", _frame(1)),
        ("2-0", _frame(2, (64, 128))),
        ("3-0", b"\xff not a message"),
        ("4-0", encode(position)),
        ("5-0", encode(Frame(FrameId("ad:image", 5, TIME_NS), not_finite))),
        # The same frame under a second id, as after a repeat that JetStream did not recognise.
        ("6-0", _frame(1)),
        ("7-0", b""),
        ("8-0", _patch(8)),
    ]

    async def run():
        async with MapClient(pod.sockets) as client:
            responses = await client.map(batch)
            after = _decoded(await client.map([("9-0", _frame(9))]))
            return responses, after

    responses, after = asyncio.run(run())
    assert sorted(name for name, _ in responses) == [name for name, _ in batch]
    results = dict(responses)
    for name in ("3-0", "7-0"):
        assert [list(result.tags) for result in results.pop(name)] == [[DROP]]
    messages = {name: _decode(values[0].value) for name, values in results.items()}
    assert all(len(values) == 1 for values in results.values())
    assert isinstance(messages["1-0"], Patch)
    assert isinstance(messages["6-0"], Patch)
    np.testing.assert_allclose(messages["1-0"].phase, messages["6-0"].phase, atol=1e-5)
    assert isinstance(messages["2-0"], Rejection)
    assert (messages["2-0"].reason, messages["5-0"].reason) == ("shape", "not-finite")
    assert messages["4-0"] == position
    assert isinstance(messages["8-0"], Patch)
    assert isinstance(after["9-0"][0], Patch)
    pod.terminate()
    assert pod.wait() == 0, pod.log()
    assert _page(pod, "cat")["counts"]["undecodable"] == 2


def test_frame_of_maximum_size_passes(inference):
    pod = inference()
    large = _frame(1, (5790, 5790))
    assert 63 * 2**20 < len(large) < 64 * 2**20

    async def run():
        async with MapClient(pod.sockets) as client:
            return _decoded(await client.map([("1-0", large), ("2-0", _frame(2))]))

    responses = asyncio.run(run())
    assert responses["1-0"][0].reason == "shape"
    assert isinstance(responses["2-0"][0], Patch)


def test_inference_survives_a_client_disconnect(inference):
    pod = inference("--slow-ms", "200", CHARON_DRAIN_S="120")

    async def run():
        first = MapClient(pod.sockets)
        await first.open()
        await first.send([(f"{k}-0", _frame(k)) for k in range(3)])
        await asyncio.sleep(0.1)
        await first.disconnect()
        second = MapClient(pod.sockets)
        await second.open()
        mapping = asyncio.create_task(second.map([(f"{k}-0", _frame(k)) for k in range(8)]))
        await asyncio.sleep(0.1)
        await second.disconnect()
        with pytest.raises((asyncio.CancelledError, grpc.RpcError, EOFError)):
            await mapping
        async with MapClient(pod.sockets) as third:
            responses = _decoded(await third.map([(f"{k}-0", _frame(k)) for k in range(8)]))
            assert len(responses) == 8

    asyncio.run(run())
    assert pod.process.poll() is None
    pod.terminate()
    # Well before CHARON_DRAIN_S: the requests of the first two clients do not count.
    assert pod.wait(60) == 0, pod.log()


def test_inference_finishes_its_batch_at_sigterm(inference):
    pod = inference("--slow-ms", "400")

    async def run():
        async with MapClient(pod.sockets) as client:
            mapping = asyncio.create_task(client.map([(f"{k}-0", _frame(k)) for k in range(20)]))
            while not (pod.sockets / ATTEMPTS).exists():  # noqa: ASYNC110 - a file has no event
                await asyncio.sleep(0.02)
            pod.terminate()
            assert len(_decoded(await mapping)) == 20

    asyncio.run(run())
    assert pod.wait() == 0, pod.log()
    assert _page(pod, "cat")["state"] == "finished"


def test_metrics_port_serves_the_vertex_metrics(inference):
    port = free_port()
    pod = inference(CHARON_METRICS_PORT=port, CHARON_METRICS_HOST="127.0.0.1")

    async def run():
        async with MapClient(pod.sockets) as client:
            await client.map([(f"{k}-0", _frame(k)) for k in range(5)])

    asyncio.run(run())
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=30).text
    (line,) = [line for line in text.splitlines() if line.startswith("charon_messages_total{")]
    assert 'vertex="cat"' in line
    assert float(line.rpartition(" ")[2]) == 5


def test_restarted_inference_is_ready_after_warm_up(inference):
    pod = inference()

    async def ready():
        async with MapClient(pod.sockets) as client:
            await client.map([("1-0", _frame(1))])

    asyncio.run(ready())
    pod.kill()
    assert (pod.sockets / "mapper-server-info").exists()
    _restart(pod)
    asyncio.run(ready())


def test_frame_that_crashes_inference_is_rejected(inference):
    pod = inference("--slow-ms", "8000")
    attempts = pod.sockets / ATTEMPTS

    async def crash(attempt):
        """Kill inference while it processes the frame."""
        async with MapClient(pod.sockets) as client:
            mapping = asyncio.create_task(client.map([("1-0", _frame(1))]))
            while not attempts.exists() or list(json.loads(attempts.read_text()).values()) != [attempt]:
                assert not mapping.done()
                await asyncio.sleep(0.02)
            pod.kill()
            with pytest.raises((asyncio.CancelledError, grpc.RpcError, EOFError)):
                await mapping

    async def map_frame():
        async with MapClient(pod.sockets) as client:
            return _decoded(await client.map([("1-0", _frame(1))]))["1-0"][0]

    for attempt in (1, 2, 3):
        asyncio.run(crash(attempt))
        _restart(pod)
    result = asyncio.run(map_frame())
    assert isinstance(result, Rejection)
    assert result.reason == "poison"


def test_sink_returns_success_for_repeats(pods, tmp_path):
    pod = pods("image", "image-sink", "--output", tmp_path / "out")
    batch = [(f"cat-{k}-0-0", _patch(k)) for k in range(5)]

    async def run():
        async with SinkClient(pod.sockets) as client:
            first = await client.sink(batch)
            again = await client.sink([*batch, ("x", b"not a message")])
            pod.kill()
        pod.start()
        async with SinkClient(pod.sockets) as client:
            third = await client.sink([*batch, ("cat-5-0-0", _patch(5))])
        return first, again, third

    for responses, count in zip(asyncio.run(run()), (5, 6, 6), strict=True):
        assert len(responses) == len({name for name, _ in responses}) == count
        assert {status for _, status in responses} == {sink_pb2.SUCCESS}
    pod.terminate()
    assert pod.wait() == 0, pod.log()
    (epoch,) = _page(pod, "image")["ledger"]["epochs"]
    assert epoch["sets"] == {"reconstructed": [[0, 5]]}


def test_sink_with_full_disk_returns_failure_at_end(pods, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small file system requires root")
    try:
        pod = pods("image", "image-sink", "--output", disk / "out", CHARON_DRAIN_S="1")
        batch = [(f"cat-{k}-0-0", _patch(k, 256)) for k in range(12)]

        async def run():
            async with SinkClient(pod.sockets) as client:
                storing = asyncio.create_task(client.sink(batch))
                assert await asyncio.to_thread(pod.logs, "no space left") or pod.logs("full", 0.1), pod.log()
                assert not storing.done()
                pod.terminate()
                return await storing

        responses = asyncio.run(run())
        assert [name for name, _ in responses] == [name for name, _ in batch]
        assert sink_pb2.FAILURE in {status for _, status in responses}
        assert pod.wait() == 0, pod.log()
        stored = [e["sets"].get("reconstructed", []) for e in _page(pod, "image")["ledger"]["epochs"]]
        kept = sum(last - first + 1 for ranges in stored for first, last in ranges)
        assert kept == [status for _, status in responses].count(sink_pb2.SUCCESS)
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(disk)], check=True)
