"""Inference and sinks under Numaflow: every message that is asked about is answered, once and truthfully."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time

import grpc
import httpx
import numpy as np
import pytest
from numaflow_client import DROP, MapClient, SinkClient
from pynumaflow.proto.sinker import sink_pb2

from charon.frames import Frame, FrameId, LatePosition, Patch, Rejection, decode, encode

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
TIME_NS = 1_700_000_000_000_000_000
NETWORK = ("--threads", "1")


def _frame(number, shape=(128, 128), dtype=np.int16):
    image = np.random.default_rng(number).poisson(3.0, shape).astype(dtype)
    frame_id = FrameId("ad:image", number, TIME_NS + number * 10_000_000, TIME_NS)
    return encode(Frame(frame_id, image, scan="scan-1", position_m=(number * 1e-7, 0.0)))


def _patch(number, size=32):
    phase = np.full((size, size), 0.1 * number, np.float32)
    frame_id = FrameId("ad:image", number, TIME_NS + number, TIME_NS)
    return encode(Patch(frame_id, "aps", phase, 1e-8, "net@1", scan="scan-1", position_m=(number * 1e-7, 0.0)))


def _answered(answers):
    """Return the messages that came of each id; an id that is answered twice is an error."""
    assert len({number for number, _ in answers}) == len(answers)
    return {number: [decode(result.value) for result in results] for number, results in answers}


def _restart(pod):
    """Start a killed container again and wait until it has removed the earlier one's information file."""
    pod.start()
    deadline = time.monotonic() + 20
    while (pod.sockets / "mapper-server-info").exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _page(pod, vertex):
    return json.loads((pod.sockets / f"charon-page-{vertex}.0.json").read_text())


@pytest.fixture
def inference(pods):
    """Return a function that starts inference."""
    return lambda *options, **more: pods("cat", "inference", *NETWORK, *options, **more)


def test_short_batches_and_long_ones_are_answered_whole(inference):
    pod = inference()

    async def run():
        async with MapClient(pod.sockets) as client:
            number = 0
            for size in (1, 3, 8, 20, 1, 8):
                batch = [(f"{number + k}-0", _frame(number + k)) for k in range(size)]
                answers = _answered(await client.map(batch))
                assert set(answers) == {name for name, _ in batch}
                for name, payload in batch:
                    (patch,) = answers[name]
                    assert isinstance(patch, Patch)
                    assert patch.id == decode(payload).id
                number += size

    asyncio.run(run())


def test_what_is_no_good_frame_is_answered_too(inference):
    pod = inference()
    position = LatePosition("ad:image", TIME_NS, (1e-6, 2e-6))
    not_finite = np.full((128, 128), np.nan, np.float32)
    batch = [
        ("1-0", _frame(1)),
        ("2-0", _frame(2, (64, 128))),
        ("3-0", b"\xff no message"),
        ("4-0", encode(position)),
        ("5-0", encode(Frame(FrameId("ad:image", 5, TIME_NS), not_finite))),
        # The same frame twice in a batch, as after a repeat that JetStream did not recognise: two ids, two answers.
        ("6-0", _frame(1)),
        ("7-0", b""),
        ("8-0", _patch(8)),
    ]

    async def run():
        async with MapClient(pod.sockets) as client:
            answers = await client.map(batch)
            after = _answered(await client.map([("9-0", _frame(9))]))
            return answers, after

    answers, after = asyncio.run(run())
    assert sorted(name for name, _ in answers) == [name for name, _ in batch]
    found = dict(answers)
    for name in ("3-0", "7-0"):
        assert [list(result.tags) for result in found.pop(name)] == [[DROP]]
    messages = {name: decode(results[0].value) for name, results in found.items()}
    assert all(len(results) == 1 for results in found.values())
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


def test_a_frame_as_large_as_numaflow_carries_passes(inference):
    pod = inference()
    large = _frame(1, (5790, 5790))
    assert 63 * 2**20 < len(large) < 64 * 2**20

    async def run():
        async with MapClient(pod.sockets) as client:
            return _answered(await client.map([("1-0", large), ("2-0", _frame(2))]))

    answers = asyncio.run(run())
    assert answers["1-0"][0].reason == "shape"
    assert isinstance(answers["2-0"][0], Patch)


def test_a_container_that_goes_in_the_middle_leaves_inference_ready_for_the_next(inference):
    pod = inference("--slow-ms", "200")

    async def run():
        first = MapClient(pod.sockets)
        await first.open()
        await first.send([(f"{k}-0", _frame(k)) for k in range(3)])
        await asyncio.sleep(0.1)
        await first.vanish()
        second = MapClient(pod.sockets)
        await second.open()
        mapping = asyncio.create_task(second.map([(f"{k}-0", _frame(k)) for k in range(8)]))
        await asyncio.sleep(0.1)
        await second.vanish()
        with pytest.raises((asyncio.CancelledError, grpc.RpcError, EOFError)):
            await mapping
        async with MapClient(pod.sockets) as third:
            answers = _answered(await third.map([(f"{k}-0", _frame(k)) for k in range(8)]))
            assert len(answers) == 8

    asyncio.run(run())
    assert pod.process.poll() is None
    pod.terminate()
    # Well before CHARON_DRAIN_S: nobody waits for what the first two had asked.
    assert pod.wait(12) == 0, pod.log()


def test_told_to_end_inference_answers_the_batch_it_has(inference):
    pod = inference("--slow-ms", "400")

    async def run():
        async with MapClient(pod.sockets) as client:
            mapping = asyncio.create_task(client.map([(f"{k}-0", _frame(k)) for k in range(20)]))
            await asyncio.sleep(0.3)
            pod.terminate()
            assert len(_answered(await mapping)) == 20

    asyncio.run(run())
    assert pod.wait(15) == 0, pod.log()
    assert _page(pod, "cat")["state"] == "finished"


def test_a_port_for_metrics_answers_with_the_vertexs_page(inference):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pod = inference(CHARON_METRICS_PORT=port, CHARON_METRICS_HOST="127.0.0.1")

    async def run():
        async with MapClient(pod.sockets) as client:
            await client.map([(f"{k}-0", _frame(k)) for k in range(5)])

    asyncio.run(run())
    text = httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
    (line,) = [line for line in text.splitlines() if line.startswith("charon_messages_total{")]
    assert 'vertex="cat"' in line
    assert float(line.rpartition(" ")[2]) == 5


def test_it_is_not_ready_before_it_is_warm_even_where_an_earlier_one_was(inference):
    pod = inference()

    async def ready():
        async with MapClient(pod.sockets) as client:
            await client.map([("1-0", _frame(1))])

    asyncio.run(ready())
    pod.kill()
    assert (pod.sockets / "mapper-server-info").exists()
    _restart(pod)
    asyncio.run(ready())


def test_a_frame_at_which_inference_keeps_dying_is_set_aside(inference):
    pod = inference("--slow-ms", "1500")
    deaths = 0

    async def ask():
        async with MapClient(pod.sockets) as client:
            mapping = asyncio.create_task(client.map([("1-0", _frame(1))]))
            done, _ = await asyncio.wait({mapping}, timeout=0.8)
            if done:
                return _answered(mapping.result())["1-0"][0]
            pod.kill()
            with pytest.raises((asyncio.CancelledError, grpc.RpcError, EOFError)):
                await mapping
            return None

    while (answer := asyncio.run(ask())) is None:
        deaths += 1
        assert deaths < 5
        _restart(pod)
    assert deaths == 3
    assert isinstance(answer, Rejection)
    assert answer.reason == "poison"


def test_a_sink_says_success_for_what_is_stored_and_for_repeats(pods, tmp_path):
    pod = pods("image", "image-sink", "--output", tmp_path / "out")
    batch = [(f"cat-{k}-0-0", _patch(k)) for k in range(5)]

    async def run():
        async with SinkClient(pod.sockets) as client:
            first = await client.sink(batch)
            again = await client.sink([*batch, ("x", b"no message")])
            pod.kill()
        pod.start()
        async with SinkClient(pod.sockets) as client:
            third = await client.sink([*batch, ("cat-5-0-0", _patch(5))])
        return first, again, third

    for answers, count in zip(asyncio.run(run()), (5, 6, 6), strict=True):
        assert len(answers) == len({name for name, _ in answers}) == count
        assert {status for _, status in answers} == {sink_pb2.SUCCESS}
    pod.terminate()
    assert pod.wait() == 0, pod.log()
    (epoch,) = _page(pod, "image")["ledger"]["epochs"]
    assert epoch["sets"] == {"reconstructed": [[0, 5]]}


def test_a_sink_whose_disk_is_full_holds_what_it_cannot_store_and_says_so_at_the_end(pods, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["/bin/mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        pod = pods("image", "image-sink", "--output", disk / "out", CHARON_DRAIN_S="1")
        batch = [(f"cat-{k}-0-0", _patch(k, 256)) for k in range(12)]

        async def run():
            async with SinkClient(pod.sockets) as client:
                sinking = asyncio.create_task(client.sink(batch))
                assert await asyncio.to_thread(pod.said, "no space left") or pod.said("full", 0.1), pod.log()
                assert not sinking.done()
                pod.terminate()
                return await sinking

        answers = asyncio.run(run())
        assert [name for name, _ in answers] == [name for name, _ in batch]
        assert sink_pb2.FAILURE in {status for _, status in answers}
        assert pod.wait() == 0, pod.log()
        stored = [e["sets"].get("reconstructed", []) for e in _page(pod, "image")["ledger"]["epochs"]]
        kept = sum(last - first + 1 for ranges in stored for first, last in ranges)
        assert kept == [status for _, status in answers].count(sink_pb2.SUCCESS)
    finally:
        subprocess.run(["/bin/umount", "--lazy", str(disk)], check=True)
