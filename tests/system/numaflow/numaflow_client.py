"""A client of the protocol between Numaflow's data plane and a user's containers; it is not Numaflow.

The exchanges are those of v1.4's Go data plane: wait for the server information file, ask IsReady, open a stream
with a handshake, then batch after batch, each ended by an end of transmission. Where Numaflow writes into
JetStream, `Pipeline` writes into lists of its own that know message ids.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from dataclasses import dataclass, field

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.timestamp_pb2 import Timestamp
from pynumaflow.proto.mapper import map_pb2, map_pb2_grpc
from pynumaflow.proto.sinker import sink_pb2, sink_pb2_grpc
from pynumaflow.proto.sourcer import source_pb2, source_pb2_grpc

# Numaflow's own limit.
LIMIT = 64 * 2**20
_OPTIONS = [("grpc.max_send_message_length", LIMIT + 2**20), ("grpc.max_receive_message_length", LIMIT + 2**20)]
DROP = "U+005C__DROP__"
END = "U+005C__END__"


async def server_info(folder, name, timeout_s=30.0):
    """Wait for a server's information file, as Numaflow's container does, and return what it says."""
    path = folder / name
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if path.exists() and path.read_text().endswith(END):
            return json.loads(path.read_text().removesuffix(END))
        await asyncio.sleep(0.02)
    raise TimeoutError(f"no {name} in {folder}")


class _Client:
    info_file = ""
    socket = ""
    stub_class = None

    def __init__(self, folder):
        self._folder = folder
        self.info = None

    async def __aenter__(self):
        await self.open()
        return self

    async def __aexit__(self, *_):
        await self.vanish()

    async def open(self):
        """Connect once the server says that it is ready."""
        self.info = await server_info(self._folder, self.info_file)
        self._channel = grpc.aio.insecure_channel(f"unix://{self._folder / self.socket}", options=_OPTIONS)
        self.stub = type(self).stub_class(self._channel)
        assert (await self.stub.IsReady(Empty(), wait_for_ready=True, timeout=10)).ready
        await self._open_streams()

    async def vanish(self):
        """Be gone at once, as a container that is killed."""
        await self._channel.close()


class SourceClient(_Client):
    """Reads from a source and acknowledges."""

    info_file, socket, stub_class = "sourcer-server-info", "source.sock", source_pb2_grpc.SourceStub

    async def _open_streams(self):
        self._read, self._ack = self.stub.ReadFn(), self.stub.AckFn()
        await self._read.write(source_pb2.ReadRequest(handshake=source_pb2.Handshake(sot=True)))
        assert (await self._read.read()).handshake.sot
        await self._ack.write(source_pb2.AckRequest(handshake=source_pb2.Handshake(sot=True)))
        assert (await self._ack.read()).handshake.sot

    async def read(self, count, timeout_ms=1000):
        """Return the messages of one read."""
        request = source_pb2.ReadRequest.Request(num_records=count, timeout_in_ms=timeout_ms)
        await self._read.write(source_pb2.ReadRequest(request=request))
        results = []
        while True:
            response = await self._read.read()
            assert response is not grpc.aio.EOF
            if response.status.eot:
                return results
            results.append(response.result)

    async def ask(self, count, timeout_ms=1000):
        """Send a read request and do not wait for its answer."""
        request = source_pb2.ReadRequest.Request(num_records=count, timeout_in_ms=timeout_ms)
        await self._read.write(source_pb2.ReadRequest(request=request))

    async def ack(self, results):
        """Acknowledge messages, in one request as they were read."""
        offsets = [result.offset for result in results]
        await self._ack.write(source_pb2.AckRequest(request=source_pb2.AckRequest.Request(offsets=offsets)))
        assert (await self._ack.read()).result.HasField("success")

    async def nack(self, results):
        """Give messages back."""
        offsets = [result.offset for result in results]
        await self.stub.NackFn(source_pb2.NackRequest(request=source_pb2.NackRequest.Request(offsets=offsets)))

    async def pending(self):
        """Return how many messages are pending."""
        return (await self.stub.PendingFn(Empty())).result.count

    async def partitions(self):
        """Return the source's partitions."""
        return list((await self.stub.PartitionsFn(Empty())).result.partitions)


class MapClient(_Client):
    """Has batches mapped."""

    info_file, socket, stub_class = "mapper-server-info", "batchmap.sock", map_pb2_grpc.MapStub

    async def _open_streams(self):
        self._stream = self.stub.MapFn()
        await self._stream.write(map_pb2.MapRequest(handshake=map_pb2.Handshake(sot=True)))
        assert (await self._stream.read()).handshake.sot

    async def send(self, batch):
        """Send the messages of a batch, (id, payload), without its end."""
        for number, payload in batch:
            request = map_pb2.MapRequest.Request(keys=[], value=payload, event_time=Timestamp(), watermark=Timestamp())
            await self._stream.write(map_pb2.MapRequest(request=request, id=number))

    async def map(self, batch):
        """Return what came of a batch: (id, results) in the order of the answers, ids repeated where answered twice."""
        await self.send(batch)
        await self._stream.write(map_pb2.MapRequest(status=map_pb2.TransmissionStatus(eot=True)))
        answers = []
        while True:
            response = await self._stream.read()
            if response is grpc.aio.EOF:
                raise EOFError
            if response.HasField("status") and response.status.eot:
                return answers
            answers.append((response.id, list(response.results)))


class SinkClient(_Client):
    """Hands batches to a sink."""

    info_file, socket, stub_class = "sinker-server-info", "sink.sock", sink_pb2_grpc.SinkStub

    async def _open_streams(self):
        self._stream = self.stub.SinkFn()
        await self._stream.write(sink_pb2.SinkRequest(handshake=sink_pb2.Handshake(sot=True)))
        assert (await self._stream.read()).handshake.sot

    async def send(self, batch):
        """Send the messages of a batch, (id, payload), without its end."""
        for number, payload in batch:
            request = sink_pb2.SinkRequest.Request(
                keys=[], value=payload, event_time=Timestamp(), watermark=Timestamp(), id=number
            )
            await self._stream.write(sink_pb2.SinkRequest(request=request))

    async def sink(self, batch):
        """Return (id, status) for a batch."""
        await self.send(batch)
        await self._stream.write(sink_pb2.SinkRequest(status=sink_pb2.TransmissionStatus(eot=True)))
        answers = []
        while True:
            response = await self._stream.read()
            if response is grpc.aio.EOF:
                raise EOFError
            if response.HasField("status") and response.status.eot:
                return answers
            answers += [(result.id, result.status) for result in response.results]


@dataclass
class Buffer:
    """An inter-step buffer in memory: each message once under its id, handed out until it is acknowledged."""

    waiting: deque = field(default_factory=deque)
    ids: set = field(default_factory=set)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    repeats: int = 0
    sequence: int = 0

    def put(self, message_id, payload):
        """Keep a message that is new."""
        if message_id in self.ids:
            self.repeats += 1
            return
        self.ids.add(message_id)
        self.sequence += 1
        self.waiting.append((f"{self.sequence}-0", payload))
        self.arrived.set()

    async def take(self, count):
        """Return what waits; wait for the first."""
        while not self.waiting:
            self.arrived.clear()
            await self.arrived.wait()
        return [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]


class Pipeline:
    """The loop of a source, a map and sinks, each of which acknowledges when the next buffer has what it made."""

    def __init__(self, sources, maps, sinks, batch=8):
        self._sources, self._maps, self._sinks = sources, maps, sinks
        self._batch = batch
        self.frames = Buffer()
        self.patches = [Buffer() for _ in sinks]
        self.sunk = 0
        self.gone = 0
        self.dropped = 0
        self._tasks = []

    async def __aenter__(self):
        loops = [self._read(source) for source in self._sources]
        loops += [self._map(one) for one in self._maps]
        loops += [self._sink(sink, buffer) for sink, buffer in zip(self._sinks, self.patches, strict=True)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition, timeout_s=60.0):
        """Wait until a condition holds; what a loop ended with comes out here."""
        end = time.monotonic() + timeout_s
        while not condition():
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            assert time.monotonic() < end, f"in vain: {self.frames.sequence} frames, {self.sunk} patches sunk"
            await asyncio.sleep(0.01)

    async def _read(self, source):
        while True:
            results = await source.read(self._batch)
            for result in results:
                # As isb.MessageID is written for a source: vertex, offset and partition, index.
                offset = f"{result.offset.offset.decode()}-{result.offset.partition_id}"
                self.frames.put(f"in-{offset}-0", result.payload)
            if results:
                await source.ack(results)

    async def _map(self, client):
        while True:
            batch = await self.frames.take(self._batch)
            try:
                answers = await client.map(batch)
            except (grpc.RpcError, EOFError, asyncio.InvalidStateError):
                # Nothing of it is acknowledged: another replica gets it, and this container has ended.
                self.frames.waiting.extendleft(reversed(batch))
                self.frames.arrived.set()
                self.gone += 1
                return
            assert sorted(number for number, _ in answers) == sorted(number for number, _ in batch)
            for number, results in answers:
                for index, result in enumerate(results):
                    assert not result.keys
                    if DROP in result.tags:
                        self.dropped += 1
                        continue
                    for buffer in self.patches:
                        buffer.put(f"cat-{number}-{index}", result.value)

    async def _sink(self, client, buffer):
        while True:
            batch = await buffer.take(self._batch)
            while batch:
                answers = dict(await client.sink(batch))
                assert set(answers) == {number for number, _ in batch}
                batch = [(number, payload) for number, payload in batch if answers[number] != sink_pb2.SUCCESS]
            self.sunk += len(answers)
