"""A client of the protocol between Numaflow's data plane and a user's container; it does not run Numaflow.

It follows v1.4's Go data plane: wait for the server information file, call IsReady, open a stream with a handshake,
then send batches, each followed by an end of transmission. `Pipeline` has lists with message ids instead of
JetStream.
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
from grpc.aio import EOF  # pyright: ignore[reportAttributeAccessIssue] - missing in the type stubs
from pynumaflow.proto.mapper import map_pb2, map_pb2_grpc
from pynumaflow.proto.sinker import sink_pb2, sink_pb2_grpc
from pynumaflow.proto.sourcer import source_pb2, source_pb2_grpc

# Numaflow's own limit.
LIMIT = 64 * 2**20
_OPTIONS = [("grpc.max_send_message_length", LIMIT + 2**20), ("grpc.max_receive_message_length", LIMIT + 2**20)]
DROP = "U+005C__DROP__"
END = "U+005C__END__"


async def server_info(folder, name, timeout_s=60.0):
    """Wait for a server's information file, as Numaflow's container does, and return its content."""
    path = folder / name
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().endswith(END):
            return json.loads(path.read_text().removesuffix(END))
        await asyncio.sleep(0.02)
    raise TimeoutError(f"no {name} in {folder}")


async def _responses(stream):
    """Yield the responses to a batch, up to the end of transmission."""
    while True:
        response = await stream.read()
        if response is EOF:
            raise EOFError
        if response.HasField("status") and response.status.eot:
            return
        yield response


class _Client:
    info_file = ""
    socket = ""
    stub_class: type

    def __init__(self, folder):
        self._folder = folder
        self.info = None

    async def __aenter__(self):
        await self.open()
        return self

    async def __aexit__(self, *_):
        await self.disconnect()

    async def open(self):
        """Connect when the server has written its information file."""
        self.info = await server_info(self._folder, self.info_file)
        self._channel = grpc.aio.insecure_channel(f"unix://{self._folder / self.socket}", options=_OPTIONS)
        self.stub = type(self).stub_class(self._channel)
        assert (await self.stub.IsReady(Empty(), wait_for_ready=True, timeout=60)).ready
        await self._open_streams()

    async def _open_streams(self):
        raise NotImplementedError

    async def disconnect(self):
        """Close the channel without a handshake, like a container that is killed."""
        await self._channel.close()


class SourceClient(_Client):
    """Reads messages from a source and acknowledges them."""

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
            assert response is not EOF
            if response.status.eot:
                return results
            results.append(response.result)

    async def request(self, count, timeout_ms=1000):
        """Send a read request without reading the response."""
        request = source_pb2.ReadRequest.Request(num_records=count, timeout_in_ms=timeout_ms)
        await self._read.write(source_pb2.ReadRequest(request=request))

    async def ack(self, results):
        """Acknowledge messages in one request, in the order of reading."""
        offsets = [result.offset for result in results]
        await self._ack.write(source_pb2.AckRequest(request=source_pb2.AckRequest.Request(offsets=offsets)))
        assert (await self._ack.read()).result.HasField("success")

    async def nack(self, results):
        """Return messages to the source."""
        offsets = [result.offset for result in results]
        await self.stub.NackFn(source_pb2.NackRequest(request=source_pb2.NackRequest.Request(offsets=offsets)))

    async def pending(self):
        """Return the source's backlog."""
        return (await self.stub.PendingFn(Empty())).result.count

    async def partitions(self):
        """Return the source's partitions."""
        return list((await self.stub.PartitionsFn(Empty())).result.partitions)


class MapClient(_Client):
    """Sends batches to a map."""

    info_file, socket, stub_class = "mapper-server-info", "batchmap.sock", map_pb2_grpc.MapStub

    async def _open_streams(self):
        self._stream = self.stub.MapFn()
        await self._stream.write(map_pb2.MapRequest(handshake=map_pb2.Handshake(sot=True)))
        assert (await self._stream.read()).handshake.sot

    async def send(self, batch):
        """Send the messages of a batch, (id, payload), without the end of transmission."""
        for number, payload in batch:
            request = map_pb2.MapRequest.Request(keys=[], value=payload, event_time=Timestamp(), watermark=Timestamp())
            await self._stream.write(map_pb2.MapRequest(request=request, id=number))

    async def map(self, batch):
        """Map a batch; return (id, results) in the order of the responses, including repeated ids."""
        await self.send(batch)
        await self._stream.write(map_pb2.MapRequest(status=map_pb2.TransmissionStatus(eot=True)))
        return [(response.id, list(response.results)) async for response in _responses(self._stream)]


class SinkClient(_Client):
    """Sends batches to a sink."""

    info_file, socket, stub_class = "sinker-server-info", "sink.sock", sink_pb2_grpc.SinkStub

    async def _open_streams(self):
        self._stream = self.stub.SinkFn()
        await self._stream.write(sink_pb2.SinkRequest(handshake=sink_pb2.Handshake(sot=True)))
        assert (await self._stream.read()).handshake.sot

    async def send(self, batch):
        """Send the messages of a batch, (id, payload), without the end of transmission."""
        for number, payload in batch:
            request = sink_pb2.SinkRequest.Request(
                keys=[], value=payload, event_time=Timestamp(), watermark=Timestamp(), id=number
            )
            await self._stream.write(sink_pb2.SinkRequest(request=request))

    async def sink(self, batch):
        """Store a batch; return (id, status) for each response."""
        await self.send(batch)
        await self._stream.write(sink_pb2.SinkRequest(status=sink_pb2.TransmissionStatus(eot=True)))
        return [
            (result.id, result.status) async for response in _responses(self._stream) for result in response.results
        ]


@dataclass
class Buffer:
    """An inter-step buffer in memory: it keeps one message per id and counts repeats."""

    waiting: deque = field(default_factory=deque)
    ids: set = field(default_factory=set)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    repeats: int = 0
    sequence: int = 0

    def put(self, message_id, payload):
        """Append a message whose id is new."""
        if message_id in self.ids:
            self.repeats += 1
            return
        self.ids.add(message_id)
        self.sequence += 1
        self.waiting.append((f"{self.sequence}-0", payload))
        self.arrived.set()

    async def read(self, count):
        """Return waiting messages, at most `count`; wait for the first."""
        while not self.waiting:
            self.arrived.clear()
            await self.arrived.wait()
        return [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]


class Pipeline:
    """The data plane's loops: each reads from one vertex and acknowledges when the next buffer has the results."""

    def __init__(self, sources, maps, sinks, batch=8):
        self._sources, self._maps, self._sinks = sources, maps, sinks
        self._batch = batch
        self.frames = Buffer()
        self.patches = [Buffer() for _ in sinks]
        self.stored = 0
        self.lost_replicas = 0
        self.dropped = 0
        self._tasks = []

    async def __aenter__(self):
        loops = [self._read(source) for source in self._sources]
        loops += [self._map(client) for client in self._maps]
        loops += [self._sink(sink, buffer) for sink, buffer in zip(self._sinks, self.patches, strict=True)]
        self._tasks = [asyncio.create_task(loop) for loop in loops]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(self, condition, timeout_s=90.0):
        """Wait until a condition holds; raise the failure of a loop."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            for task in self._tasks:
                if task.done() and not task.cancelled():
                    task.result()
            assert time.monotonic() < deadline, (
                f"timed out: {self.frames.sequence} frames, {self.stored} patches stored"
            )
            await asyncio.sleep(0.01)

    async def _read(self, source):
        while True:
            results = await source.read(self._batch)
            for result in results:
                # The format of isb.MessageID for a source: vertex, offset, partition and index.
                offset = f"{result.offset.offset.decode()}-{result.offset.partition_id}"
                self.frames.put(f"in-{offset}-0", result.payload)
            if results:
                await source.ack(results)

    async def _map(self, client):
        while True:
            batch = await self.frames.read(self._batch)
            try:
                responses = await client.map(batch)
            except (grpc.RpcError, EOFError, asyncio.InvalidStateError):
                # The container has ended and nothing is acknowledged: another replica receives the batch.
                self.frames.waiting.extendleft(reversed(batch))
                self.frames.arrived.set()
                self.lost_replicas += 1
                return
            assert sorted(number for number, _ in responses) == sorted(number for number, _ in batch)
            for number, results in responses:
                for index, result in enumerate(results):
                    assert not result.keys
                    if DROP in result.tags:
                        self.dropped += 1
                        continue
                    for buffer in self.patches:
                        buffer.put(f"cat-{number}-{index}", result.value)

    async def _sink(self, client, buffer):
        while True:
            batch = await buffer.read(self._batch)
            while batch:
                statuses = dict(await client.sink(batch))
                assert set(statuses) == {number for number, _ in batch}
                batch = [(number, payload) for number, payload in batch if statuses[number] != sink_pb2.SUCCESS]
            self.stored += len(statuses)
