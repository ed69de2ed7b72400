"""The ledger in Numaflow's JetStream: credentials, pages of several pods, and vertices while it is unavailable."""

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
from loopback import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
USER = "isbsvc"


class Server:
    """A nats-server with user and password, like Numaflow's inter-step buffer service."""

    def __init__(self, folder):
        self.password = secrets.token_urlsafe(12)
        self.port = free_port()
        self._config = folder / "nats.conf"
        self._config.touch(0o600)
        self._config.write_text(
            f'listen: "127.0.0.1:{self.port}"\n'
            f'authorization {{ user: "{USER}", password: "{self.password}" }}\n'
            f'jetstream {{ store_dir: "{folder / "js"}" }}\n'
        )
        self._process = None

    def start(self):
        """Start the server and wait until it accepts connections."""
        self._process = subprocess.Popen(
            [find_program(), "-c", str(self._config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with socket.create_connection(("127.0.0.1", self.port), 0.5) as connection:
                    if connection.recv(4) == b"INFO":
                        return
            except OSError:
                time.sleep(0.02)
        pytest.fail("nats-server does not accept connections")

    def stop(self):
        """Stop the server."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def environment(self):
        """Return the variables that a manifest sets for a vertex."""
        return {
            "CHARON_LEDGER": f"nats://127.0.0.1:{self.port}",
            "CHARON_LEDGER_USER": USER,
            "CHARON_LEDGER_PASSWORD": self.password,
        }

    async def pages(self):
        """Return the pages of the pipeline's ledger."""
        connection = await self.connect()
        try:
            return await connection.ledger.pages()
        finally:
            await connection.close()

    async def connect(self):
        """Return a connection to the pipeline's ledger."""
        address = NatsAddress.from_url(f"nats://127.0.0.1:{self.port}", USER, self.password)
        return await NatsConnection.connect(address, "reader", reconnect=False, bucket=ledger_bucket("default", "aps"))


@pytest.fixture
def server(tmp_path):
    """Return a server that is not started; it is stopped after the test."""
    result = Server(tmp_path)
    yield result
    result.stop()


def _batch(first, count):
    batch = []
    for n in range(first, first + count):
        frame_id = FrameId("ad:image", n, 1_700_000_000_000_000_000 + n, 1_700_000_000_000_000_000)
        patch = Patch(frame_id, "aps", np.zeros((8, 8), np.float32), 1e-8, "net@1", position_m=(0.0, 0.0))
        batch.append((f"cat-{n}-0-0", encode(patch)))
    return batch


async def _sink(pod, first, count):
    async with SinkClient(pod.sockets) as client:
        responses = await client.sink(_batch(first, count))
        assert len(responses) == count


def _reconstructed(pages):
    return compute_account(pages, ended=False).reconstructed


def test_new_pod_resumes_from_the_ledger(pods, server):
    server.start()
    first = pods("out", "log-sink", "--quiet", **server.environment())

    async def run():
        await _sink(first, 1, 10)
        # The page is written before the response, so a pod that is killed right after it leaves its account.
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


def test_wrong_password_is_rejected(server):
    server.start()

    async def run():
        address = NatsAddress.from_url(f"nats://127.0.0.1:{server.port}", USER, "wrong")
        with pytest.raises(UnavailableError, match="cannot connect to nats-server"):
            await NatsConnection.connect(address, "stranger", reconnect=False)

    asyncio.run(run())


def test_page_with_100000_gaps_is_stored(server):
    server.start()
    sets = {state: IdSet(range(2, 200_002, 2)) for state in ("seen", "accepted")}
    page = SourcePage(process=ProcessStats(), entries=(LedgerEntry(channel="ad:image", epoch_ns=1, sets=sets),))
    document = page.to_json()

    async def run():
        connection = await server.connect()
        await connection.ledger.create("file")
        await connection.ledger.save("in.0", {})
        _, revision = await connection.ledger.read("in.0")
        await connection.ledger.replace("in.0", document, revision)
        assert await connection.ledger.load("in.0") == document
        await connection.ledger.save("in.1", document)
        assert await connection.ledger.pages() == {"in.0": page, "in.1": page}
        await connection.close()

    asyncio.run(run())


def test_vertex_writes_page_when_ledger_responds(pods, server):
    pod = pods("out", "log-sink", "--quiet", **server.environment())

    async def run():
        await _sink(pod, 1, 4)
        assert "ledger nats://127.0.0.1:" in pod.log()
        assert pod.log().count("unavailable (") == 1
        server.start()
        deadline = time.monotonic() + 60
        while not (pages := await _pages_or_none(server)):
            assert time.monotonic() < deadline, pod.log()
            await asyncio.sleep(0.2)
        assert _reconstructed(pages) == 4
        server.stop()
        await _sink(pod, 5, 4)
        server.start()
        while _reconstructed(pages := await _pages_or_none(server)) != 8:
            assert time.monotonic() < deadline, pod.log()
            await asyncio.sleep(0.2)
        assert list(pages) == ["out.0"], "a vertex overwrites its own page"

    asyncio.run(run())
    pod.terminate()
    assert pod.wait() == 0, pod.log()


async def _pages_or_none(server):
    try:
        return await server.pages()
    except UnavailableError:
        return {}


def test_unread_page_is_not_overwritten(pods, server):
    server.start()

    async def run():
        first = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(first, 1, 6)
        first.kill()
        server.stop()
        second = pods("out", "log-sink", "--quiet", **server.environment())
        await _sink(second, 7, 3)
        server.start()
        deadline = time.monotonic() + 60
        while _reconstructed(pages := await _pages_or_none(server)) != 9:
            assert time.monotonic() < deadline, (second.log(), pages)
            await asyncio.sleep(0.2)
        assert len(pages) == 2

    asyncio.run(run())


def test_overlapping_pods_keep_both_pages(pods, server):
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


def test_restarted_image_sink_leaves_one_page(pods, server, tmp_path):
    server.start()

    async def run():
        pod = pods("image", "image-sink", "--output", tmp_path / "out", **server.environment())
        for n in range(3):
            await _sink(pod, 1 + 2 * n, 2)
            deadline = time.monotonic() + 60
            while _reconstructed(await _pages_or_none(server)) != 2 + 2 * n:
                assert time.monotonic() < deadline, pod.log()
                await asyncio.sleep(0.1)
            pod.kill()
            pod.start()
        assert list(await server.pages()) == ["image.0"]

    asyncio.run(run())


def test_final_page_is_written_after_an_outage(pods, server):
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
def test_vertex_ignores_invalid_page(pods, server, role, value):
    server.start()

    async def run():
        connection = await server.connect()
        await connection.ledger.create("file")
        bucket = await connection.client.jetstream().key_value(ledger_bucket("default", "aps"))
        await bucket.put("out.0", value)
        await connection.close()
        pod = pods("out", role, **server.environment())
        deadline = time.monotonic() + 60
        while "out.0" not in (pages := await server.pages()) or pages["out.0"].process.pid != pod.process.pid:
            assert time.monotonic() < deadline, pod.log()
            assert pod.process.poll() is None, pod.log()
            await asyncio.sleep(0.1)

    asyncio.run(run())


def test_missing_ledger_setting_warns_once(pods):
    pod = pods("cat", "inference", "--threads", "1")

    async def run():
        async with MapClient(pod.sockets) as client:
            await client.map(_batch(1, 2))

    asyncio.run(run())
    pod.terminate()
    assert pod.wait() == 0, pod.log()
    assert pod.log().count("no ledger configured (CHARON_LEDGER)") == 1
    page = json.loads((pod.sockets / "charon-page-cat.0.json").read_text())
    assert page["counts"]["done"] == 2
    assert any("no ledger" in warning for warning in page["warnings"])


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
def test_invalid_setting_is_reported_in_one_line(pods, variables, words):
    pod = pods("out", "log-sink", **variables)
    assert pod.wait() == 2
    (line,) = [line for line in pod.log().splitlines() if line.startswith("error: ")]
    assert words in line
    assert "Traceback" not in pod.log()
    assert "secret-word" not in pod.log()
