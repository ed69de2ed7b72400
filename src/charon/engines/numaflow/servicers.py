"""Numaflow's services for source, map and sink: pynumaflow's servicers on top of an outbox or a request queue."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pynumaflow import _constants as numaflow
from pynumaflow import batchmapper, sinker, sourcer
from pynumaflow.batchmapper.servicer.async_servicer import AsyncBatchMapServicer
from pynumaflow.info.types import MAP_MODE_KEY, MINIMUM_NUMAFLOW_VERSION, ContainerType, MapMode, ServerInfo
from pynumaflow.proto.mapper import map_pb2_grpc
from pynumaflow.proto.sinker import sink_pb2_grpc
from pynumaflow.proto.sourcer import source_pb2_grpc
from pynumaflow.sinker.servicer.async_servicer import AsyncSinkServicer
from pynumaflow.sourcer.servicer.async_servicer import AsyncSourceServicer

from charon.engines.numaflow.grpc_server import Service
from charon.engines.numaflow.outbox import PARTITION
from charon.frames import detector_time_ns

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable

    from charon.engines.numaflow.outbox import Outbox
    from charon.engines.numaflow.request_queue import PendingRequest, RequestQueue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READER: ContextVar[int] = ContextVar("reader")
_BATCHES: ContextVar[set[asyncio.Task[Any]]] = ContextVar("batches")
# The generated modules have no types.
_source_grpc, _map_grpc, _sink_grpc = (cast("Any", module) for module in (source_pb2_grpc, map_pb2_grpc, sink_pb2_grpc))


def source_service(outbox: Outbox, pending: Callable[[], int]) -> Service:
    """Return the service of a user-defined source; `pending` returns its backlog."""
    servicer = _SourceServicer(_Source(outbox, pending), outbox)
    return Service(
        lambda server: _source_grpc.add_SourceServicer_to_server(servicer, server),
        Path(numaflow.SOURCE_SOCK_PATH).name,
        Path(numaflow.SOURCE_SERVER_INFO_FILE_PATH).name,
        _info(ContainerType.Sourcer),
    )


def map_service(queue: RequestQueue) -> Service:
    """Return the service of a batch map."""
    servicer = _BatchMapServicer(queue)
    return Service(
        lambda server: _map_grpc.add_MapServicer_to_server(servicer, server),
        Path(numaflow.BATCH_MAP_SOCK_PATH).name,
        Path(numaflow.MAP_SERVER_INFO_FILE_PATH).name,
        _info(ContainerType.Mapper, {MAP_MODE_KEY: MapMode.BatchMap}),
    )


def sink_service(queue: RequestQueue) -> Service:
    """Return the service of a user-defined sink."""
    servicer = _SinkServicer(queue)
    return Service(
        lambda server: _sink_grpc.add_SinkServicer_to_server(servicer, server),
        Path(numaflow.SINK_SOCK_PATH).name,
        Path(numaflow.SINK_SERVER_INFO_FILE_PATH).name,
        _info(ContainerType.Sinker),
    )


class _Source(sourcer.Sourcer):
    """Serves read requests from the outbox."""

    def __init__(self, outbox: Outbox, pending: Callable[[], int]) -> None:
        self._outbox = outbox
        self._pending = pending

    async def read_handler(self, datum: sourcer.ReadRequest, output: Any) -> None:  # noqa: ANN401 - pynumaflow's iterator
        for entry in await self._outbox.read(_READER.get(), datum.num_records, datum.timeout_in_ms / 1e3):
            await output.put(
                sourcer.Message(entry.payload, sourcer.Offset(entry.offset, PARTITION), event_time(entry.name))
            )

    async def ack_handler(self, ack_request: sourcer.AckRequest) -> None:
        self._outbox.acknowledge(offset.offset for offset in ack_request.offsets)

    async def nack_handler(self, nack_request: sourcer.NackRequest) -> None:
        self._outbox.nack(offset.offset for offset in nack_request.offsets)

    async def pending_handler(self) -> sourcer.PendingResponse:
        return sourcer.PendingResponse(count=self._pending())

    async def active_partitions_handler(self) -> sourcer.PartitionsResponse:
        return sourcer.PartitionsResponse(partitions=[PARTITION])


class _SourceServicer(AsyncSourceServicer):
    """Opens a reader of the outbox for each stream of read requests."""

    def __init__(self, source: _Source, outbox: Outbox) -> None:
        super().__init__(source)
        self._outbox = outbox

    async def ReadFn(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401, N802 - as in the protocol
        reader = self._outbox.open_reader()

        def close(_: object) -> None:
            self._outbox.close_reader(reader)

        context.add_done_callback(close)
        _READER.set(reader)
        async for response in cast("Any", super()).ReadFn(request_iterator, context):
            yield response


class _BatchMapServicer(AsyncBatchMapServicer):
    """Returns the result of every message of a batch."""

    def __init__(self, queue: RequestQueue) -> None:
        cast("Any", super()).__init__(self._process)
        self._queue = queue

    async def MapFn(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401, N802 - as in the protocol
        _open_stream(self._queue, context)
        async for response in cast("Any", super()).MapFn(request_iterator, context):
            yield response

    async def _process(
        self, datums: AsyncIterable[batchmapper.Datum]
    ) -> batchmapper.BatchResponses[batchmapper.BatchResponse]:
        responses = batchmapper.BatchResponses[batchmapper.BatchResponse]()
        for datum_id, request, acknowledged in await _process_batch(self._queue, datums):
            if not acknowledged:
                # Numaflow accepts only complete batches. Wait for the server to stop: the call then fails, and
                # Numaflow sends the batch again.
                await asyncio.Event().wait()
            # An undecodable message has no result; the vertex has logged and counted it.
            message = batchmapper.Message.to_drop() if request.result is None else batchmapper.Message(request.result)
            responses.append(batchmapper.BatchResponse.with_msgs(datum_id, [message]))
        return responses


class _SinkServicer(AsyncSinkServicer):
    """Returns for every message whether the sink has stored it."""

    def __init__(self, queue: RequestQueue) -> None:
        cast("Any", super()).__init__(self._process)
        self._queue = queue

    # pynumaflow declares a single response and returns a stream of them.
    async def SinkFn(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401, N802 # pyright: ignore[reportIncompatibleMethodOverride]
        _open_stream(self._queue, context)
        async for response in cast("Any", super()).SinkFn(request_iterator, context):
            yield response

    async def _process(self, datums: AsyncIterable[sinker.Datum]) -> sinker.Responses[sinker.Response]:
        responses = sinker.Responses[sinker.Response]()
        for datum_id, _, acknowledged in await _process_batch(self._queue, datums):
            responses.append(
                sinker.Response.as_success(datum_id)
                if acknowledged
                else sinker.Response.as_failure(datum_id, "the sink stopped before it stored the message")
            )
        return responses


async def _process_batch(queue: RequestQueue, datums: AsyncIterable[Any]) -> list[tuple[str, PendingRequest, bool]]:
    """Queue a batch as it arrives; return each datum's id, its request and whether it was acknowledged."""
    requests: list[tuple[str, PendingRequest]] = []
    batches, batch = _BATCHES.get(), asyncio.current_task()
    if batch is not None:
        batches.add(batch)
        batch.add_done_callback(batches.discard)
    queue.begin_batch()
    try:
        try:
            async for datum in datums:
                requests.append((datum.id, queue.put(datum.value)))  # noqa: PERF401 - queued as each arrives
        finally:
            queue.end_batch()
        return [(datum_id, request, await request.acknowledged) for datum_id, request in requests]
    except asyncio.CancelledError:
        queue.withdraw([request for _, request in requests])
        raise


def _open_stream(queue: RequestQueue, context: Any) -> None:  # noqa: ANN401 - gRPC's
    """Count an open stream; when it closes, cancel the batches that were still arriving on it."""
    batches: set[asyncio.Task[Any]] = set()
    _BATCHES.set(batches)
    queue.streams += 1

    def close(_: object) -> None:
        queue.streams -= 1
        for batch in list(batches):
            batch.cancel()

    context.add_done_callback(close)


def event_time(name: str) -> datetime:
    """Return the detector's time stamp in a message's name as Numaflow's event time; now if it has none."""
    time_ns = detector_time_ns(name)
    return _EPOCH + timedelta(microseconds=time_ns // 1000) if time_ns else datetime.now(UTC)


def _info(kind: ContainerType, metadata: dict[str, str] | None = None) -> ServerInfo:
    info: ServerInfo = cast("Any", ServerInfo).get_default_server_info()
    info.minimum_numaflow_version = MINIMUM_NUMAFLOW_VERSION[kind]
    cast("Any", info).metadata.update(metadata or {})
    return info
