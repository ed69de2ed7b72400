"""The ledger beside Numaflow's buffers: user and password, pages for all to read, and a vertex that needs none."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import subprocess
import time

import numpy as np
import pytest
from numaflow_client import MapClient, SinkClient

from charon.adapters.nats import NatsAddress, NatsConnection
from charon.adapters.nats.server import find_program
from charon.errors import UnavailableError
from charon.frames import FrameId, Patch, encode
from charon.ledger.accounting import compute_account
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.pages import SourcePage
from charon.ledger.process import ProcessStats
from charon.settings.vertex import ledger_bucket

pytestmark = [pytest.mark.system, pytest.mark.timeout(90)]
USER = "isbsvc"


class Server:
    """A nats-server with a user and a password, as Numaflow's inter-step buffer service has."""

    def __init__(self, folder):
        self.password = secrets.token_urlsafe(12)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self._config = folder / "nats.conf"
        self._config.touch(0o600)
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'authorization {{ user: "{USER}", password: "{self.password}" }}\n'
            f'jetstream {{ store_dir: "{folder / "js"}" }}\n'
        )
        self._process = None

    def start(self):
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            [find_program(), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 10
        while time.monotonic() < end:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                    if connection.recv(4) == b"INFO":
                        return
            except OSError:
                time.sleep(0.02)
        pytest.fail("no nats-server")

    def stop(self):
        """End it."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def environment(self):
        """Return what a manifest gives a vertex."""
        return {
            "CHARON_LEDGER": f"nats://127.0.0.1:{self.port}",
            "CHARON_LEDGER_USER": USER,
            "CHARON_LEDGER_PASSWORD": self.password,
        }

    async def pages(self):
        """Return the pages of the pipeline's ledger."""
        bus = await self.bus()
        try:
            return await bus.ledger.pages()
        finally:
            await bus.close()

    async def bus(self):
        """Return a connection to the pipeline's ledger."""
        address = NatsAddress.from_url(f"nats://127.0.0.1:{self.port}", USER, self.password)
        return await NatsConnection.connect(address, "reader", reconnect=False, bucket=ledger_bucket("default", "aps"))


@pytest.fixture
def server(tmp_path):
    """Return a server that is not started; it ends with the test."""
    found = Server(tmp_path)
    yield found
    found.stop()


def _batch(first, count):
    found = []
    for n in range(first, first + count):
        frame_id = FrameId("ad:image", n, 1_700_000_000_000_000_000 + n, 1_700_000_000_000_000_000)
        patch = Patch(frame_id, "aps", np.zeros((8, 8), np.float32), 1e-8, "net@1", position_m=(0.0, 0.0))
        found.append((f"cat-{n}-0-0", encode(patch)))
    return found


async def _sink(pod, first, count):
    async with SinkClient(pod.sockets) as client:
        answers = await client.sink(_batch(first, count))
        assert len(answers) == count


def _reconstructed(pages):
    return compute_account(pages, ended=False).reconstructed


def test_the_page_is_in_the_pipelines_bucket_and_a_new_pod_goes_on_with_it(pods, server):
    server.start()
    first = pods("out", "log-sink", "--quiet", **server.environment())

    async def run():
        await _sink(first, 1, 10)
        # Written before the answer: a pod that is gone the next moment has left its account.
        first.kill()
        pages = await server.pages()
        assert list(pages) == ["out.0"]
        assert _reconstructed(pages) == 10
        second = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(second, 11, 5)
        assert _reconstructed(await server.pages()) == 15
        second.terminate()
        assert await asyncio.to_thread(second.wait) == 0, second.log()
        pages = await server.pages()
        assert pages["out.0"].process.state == "finished"
        assert server.password not in first.log() + second.log()

    asyncio.run(run())


def test_a_wrong_password_opens_nothing(server):
    server.start()

    async def run():
        address = NatsAddress.from_url(f"nats://127.0.0.1:{server.port}", USER, "wrong")
        with pytest.raises(UnavailableError, match="cannot connect to nats-server"):
            await NatsConnection.connect(address, "stranger", reconnect=False)

    asyncio.run(run())


def test_a_page_of_a_hundred_thousand_gaps_finds_room(server):
    server.start()
    sets = {state: IdSet(range(2, 200_002, 2)) for state in ("seen", "accepted")}
    page = SourcePage(process=ProcessStats(), entries=(LedgerEntry(channel="ad:image", epoch_ns=1, sets=sets),))
    document = page.to_json()

    async def run():
        bus = await server.bus()
        await bus.ledger.create("file")
        await bus.ledger.save("in.0", {})
        _, revision = await bus.ledger.read("in.0")
        await bus.ledger.replace("in.0", document, revision)
        assert await bus.ledger.load("in.0") == document
        await bus.ledger.save("in.1", document)
        assert await bus.ledger.pages() == {"in.0": page, "in.1": page}
        await bus.close()

    asyncio.run(run())


def test_a_vertex_works_without_a_ledger_and_catches_up_when_it_comes(pods, server):
    pod = pods("out", "log-sink", "--quiet", **server.environment())

    async def run():
        await _sink(pod, 1, 4)
        assert "the ledger at nats://127.0.0.1:" in pod.log()
        assert pod.log().count("is away") == 1
        server.start()
        end = time.monotonic() + 20
        while not (pages := await _pages_or_none(server)):
            assert time.monotonic() < end, pod.log()
            await asyncio.sleep(0.2)
        assert _reconstructed(pages) == 4
        server.stop()
        await _sink(pod, 5, 4)
        server.start()
        while _reconstructed(pages := await _pages_or_none(server)) != 8:
            assert time.monotonic() < end, pod.log()
            await asyncio.sleep(0.2)
        assert list(pages) == ["out.0"], "its own page is nobody else's"

    asyncio.run(run())
    pod.terminate()
    assert pod.wait() == 0, pod.log()


async def _pages_or_none(server):
    try:
        return await server.pages()
    except UnavailableError:
        return {}


def test_a_predecessors_page_that_could_not_be_read_is_not_written_over(pods, server):
    server.start()

    async def run():
        first = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(first, 1, 6)
        first.kill()
        server.stop()
        second = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(second, 7, 3)
        server.start()
        end = time.monotonic() + 20
        while _reconstructed(pages := await _pages_or_none(server)) != 9:
            assert time.monotonic() < end, (second.log(), pages)
            await asyncio.sleep(0.2)
        assert len(pages) == 2

    asyncio.run(run())


def test_a_pod_that_still_ends_and_the_one_in_its_place_write_over_nothing_of_each_other(pods, server):
    server.start()

    async def run():
        old = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(old, 1, 5)
        new = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(new, 6, 3)
        await _sink(old, 9, 4)
        await _sink(new, 13, 2)
        await asyncio.sleep(0.6)
        assert _reconstructed(await server.pages()) == 14
        for pod in (old, new):
            pod.terminate()
            assert await asyncio.to_thread(pod.wait) == 0, pod.log()
        assert _reconstructed(pages := await server.pages()) == 14
        assert len(pages) == 2

    asyncio.run(run())


def test_an_image_sink_that_comes_again_leaves_one_page(pods, server, tmp_path):
    server.start()

    async def run():
        pod = pods("image", "image-sink", "--output", tmp_path / "out", **server.environment())
        for n in range(3):
            await _sink(pod, 1 + 2 * n, 2)
            end = time.monotonic() + 20
            while _reconstructed(await _pages_or_none(server)) != 2 + 2 * n:
                assert time.monotonic() < end, pod.log()
                await asyncio.sleep(0.1)
            pod.kill()
            pod.start()
        assert list(await server.pages()) == ["image.0"]

    asyncio.run(run())


def test_the_last_page_is_written_though_the_ledger_was_away_a_moment_ago(pods, server):
    server.start()

    async def run():
        pod = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(pod, 1, 4)
        server.stop()
        await _sink(pod, 5, 4)
        server.start()
        pod.terminate()
        assert await asyncio.to_thread(pod.wait) == 0, pod.log()
        pages = await server.pages()
        assert _reconstructed(pages) == 8
        assert pages["out.0"].process.state == "finished"

    asyncio.run(run())


@pytest.mark.parametrize("value", [b"{", b"[1]", b'{"ledger": {"epochs": [1]}, "updated_ns": "x"}'])
@pytest.mark.parametrize("role", ["log-sink", "source"])
def test_a_page_that_nobody_can_read_keeps_no_vertex_from_its_work(pods, server, role, value):
    server.start()

    async def run():
        bus = await server.bus()
        await bus.ledger.create("file")
        bucket = await bus.client.jetstream().key_value(ledger_bucket("default", "aps"))
        await bucket.put("out.0", value)
        await bus.close()
        pod = pods("out", role, **server.environment())
        end = time.monotonic() + 20
        while "out.0" not in (pages := await server.pages()) or pages["out.0"].process.pid != pod.process.pid:
            assert time.monotonic() < end, pod.log()
            assert pod.process.poll() is None, pod.log()
            await asyncio.sleep(0.1)

    asyncio.run(run())


def test_without_a_ledger_the_page_stays_in_the_pod_and_that_is_said_once(pods):
    pod = pods("cat", "inference", "--threads", "1")

    async def run():
        async with MapClient(pod.sockets) as client:
            await client.map(_batch(1, 2))

    asyncio.run(run())
    pod.terminate()
    assert pod.wait() == 0, pod.log()
    assert pod.log().count("no ledger is configured (CHARON_LEDGER)") == 1
    page = json.loads((pod.sockets / "charon-page-cat.0.json").read_text())
    assert page["counts"]["done"] == 2
    assert any("no ledger" in said for said in page["warnings"])


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"CHARON_METRICS_PORT": "70000"}, "CHARON_METRICS_PORT: invalid value '70000'"),
        ({"CHARON_READ_BATCH_SIZE": "0"}, "CHARON_READ_BATCH_SIZE: invalid value '0'"),
        ({"CHARON_REPLICA": "one"}, "CHARON_REPLICA: invalid value 'one'"),
        ({"CHARON_LOG": "loud"}, "CHARON_LOG: invalid value 'loud'"),
        ({"CHARON_LEDGER": "http://somewhere:1"}, "invalid address of a nats-server"),
        ({"CHARON_LEDGER": "nats://me:secret-word@host:4222"}, "remove user and password"),
        ({"CHARON_METRICS_PORT": "metrics"}, "CHARON_METRICS_PORT: invalid value 'metrics'"),
        ({"NUMAFLOW_REPLICA": "one"}, "NUMAFLOW_REPLICA: invalid value 'one'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(pods, variables, words):
    pod = pods("out", "log-sink", **variables)
    assert pod.wait() == 2
    (line,) = [line for line in pod.log().splitlines() if line.startswith("error: ")]
    assert words in line
    assert "Traceback" not in pod.log()
    assert "secret-word" not in pod.log()
