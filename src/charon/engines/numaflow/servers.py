"""The servers that Numaflow's container talks to: pynumaflow's servicers around the vertices' ends.

pynumaflow's own servers end the process when the container beside it goes away, and cancel everything at
SIGTERM. Here a servicer runs in a server of ours, so that what is not acknowledged outlives both.
"""

from __future__ import annotations

import asyncio
import logging
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import grpc
from pynumaflow import _constants as numaflow
from pynumaflow import batchmapper, sinker, sourcer
from pynumaflow.batchmapper.servicer.async_servicer import AsyncBatchMapServicer
from pynumaflow.info.server import write as write_server_info
from pynumaflow.info.types import MAP_MODE_KEY, MINIMUM_NUMAFLOW_VERSION, ContainerType, MapMode, ServerInfo
from pynumaflow.proto.mapper import map_pb2_grpc
from pynumaflow.proto.sinker import sink_pb2_grpc
from pynumaflow.proto.sourcer import source_pb2_grpc
from pynumaflow.sinker.servicer.async_servicer import AsyncSinkServicer
from pynumaflow.sourcer.servicer.async_servicer import AsyncSourceServicer

from charon.engines.numaflow.outbox import PARTITION
from charon.errors import UnavailableError
from charon.frames import detector_time_ns

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, AsyncIterator, Callable

    from charon.engines.numaflow.outbox import Outbox
    from charon.engines.numaflow.request_queue import PendingRequest, RequestQueue

_log = logging.getLogger(__name__)
# A payload of 64 MiB, as large as JetStream takes, and what gRPC puts around it.
MAX_MESSAGE_BYTES = 65 * 2**20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READER: ContextVar[int] = ContextVar("reader")
_BATCHES: ContextVar[set[asyncio.Task[Any]]] = ContextVar("batches")


@dataclass(frozen=True, slots=True)
class Service:
    """A servicer and how Numaflow finds it.

    Parameters
    ----------
    register
        Adds the servicer to a server.
    socket, info_file
        Names of the socket and of the file that says that it serves.
    info
        What that file says.
    """

    register: Callable[[Any], None]
    socket: str
    info_file: str
    info: ServerInfo


class Server:
    """A gRPC server of one service on a unix socket.

    Parameters
    ----------
    service
        What it serves.
    folder
        Where the socket and the information file go.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._folder = folder
        self._server: Any = None
        # One that a container before this one left would call a server ready that is not.
        (folder / service.info_file).unlink(missing_ok=True)

    async def start(self) -> None:
        """Serve, and say so: Numaflow's container waits for the information file.

        Raises
        ------
        UnavailableError
            If the socket or the file cannot be made.
        """
        _quieten()
        limits = [
            ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ]
        self._server = grpc.aio.server(options=limits)
        socket = self._folder / self._service.socket
        try:
            self._server.add_insecure_port(f"unix://{socket}")
            self._service.register(self._server)
            await self._server.start()
            write_server_info(server_info=self._service.info, info_file=str(self._folder / self._service.info_file))
        except (RuntimeError, OSError) as error:
            # gRPC says of a socket that it could not bind it, and no more.
            raise UnavailableError(f"cannot serve at {socket}: {error}") from error
        _log.info("ready at %s", socket)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and end those that are still up after a while."""
        if self._server is not None:
            await self._server.stop(grace_s)


def serve_source(outbox: Outbox, pending: Callable[[], int]) -> Service:
    """Return the service of a user-defined source."""
    servicer = _SourceServicer(_Source(outbox, pending), outbox)
    return Service(
        lambda server: source_pb2_grpc.add_SourceServicer_to_server(servicer, server),
        Path(numaflow.SOURCE_SOCK_PATH).name,
        Path(numaflow.SOURCE_SERVER_INFO_FILE_PATH).name,
        _info(ContainerType.Sourcer),
    )


def serve_map(requests: RequestQueue) -> Service:
    """Return the service of a batch map."""
    servicer = _BatchMapServicer(requests)
    info = _info(ContainerType.Mapper)
    info.metadata[MAP_MODE_KEY] = MapMode.BatchMap
    return Service(
        lambda server: map_pb2_grpc.add_MapServicer_to_server(servicer, server),
        Path(numaflow.BATCH_MAP_SOCK_PATH).name,
        Path(numaflow.MAP_SERVER_INFO_FILE_PATH).name,
        info,
    )


def serve_sink(requests: RequestQueue) -> Service:
    """Return the service of a user-defined sink."""
    servicer = _SinkServicer(requests)
    return Service(
        lambda server: sink_pb2_grpc.add_SinkServicer_to_server(servicer, server),
        Path(numaflow.SINK_SOCK_PATH).name,
        Path(numaflow.SINK_SERVER_INFO_FILE_PATH).name,
        _info(ContainerType.Sinker),
    )


class _Source(sourcer.Sourcer):
    """Answers read requests from the outbox."""

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
    """Knows which stream a read belongs to."""

    def __init__(self, source: _Source, outbox: Outbox) -> None:
        super().__init__(source)
        self._outbox = outbox

    async def ReadFn(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401, N802 - as in the protocol
        reader = self._outbox.open_reader()

        def close(_: object) -> None:
            self._outbox.close_reader(reader)

        context.add_done_callback(close)
        _READER.set(reader)
        async for response in super().ReadFn(request_iterator, context):
            yield response


class _BatchMapServicer(AsyncBatchMapServicer):
    """Answers every datum of a batch."""

    def __init__(self, requests: RequestQueue) -> None:
        super().__init__(cast("Any", self._answer))
        self._requests = requests

    async def MapFn(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401, N802 - as in the protocol
        _open_stream(self._requests, context)
        async for response in super().MapFn(request_iterator, context):
            yield response

    async def _answer(
        self, datums: AsyncIterable[batchmapper.Datum]
    ) -> batchmapper.BatchResponses[batchmapper.BatchResponse]:
        asked = await _ask(self._requests, datums)
        responses = batchmapper.BatchResponses[batchmapper.BatchResponse]()
        for number, request, dealt_with in asked:
            if not dealt_with:
                # No answer is better than a wrong one: the call ends with the server, and all of it is asked again.
                await asyncio.Event().wait()
            # A message that no later try would make readable has been said and counted; nothing comes of it.
            message = batchmapper.Message.to_drop() if request.result is None else batchmapper.Message(request.result)
            responses.append(batchmapper.BatchResponse.with_msgs(number, [message]))
        return responses


class _SinkServicer(AsyncSinkServicer):
    """Tells of every datum whether the sink has it for good."""

    def __init__(self, requests: RequestQueue) -> None:
        super().__init__(self._answer)
        self._requests = requests

    # pynumaflow declares one response and gives a stream of them.
    async def SinkFn(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:  # noqa: ANN401, N802 # pyright: ignore[reportIncompatibleMethodOverride]
        _open_stream(self._requests, context)
        async for response in cast("Any", super().SinkFn(request_iterator, context)):
            yield response

    async def _answer(self, datums: AsyncIterable[sinker.Datum]) -> sinker.Responses[sinker.Response]:
        responses = sinker.Responses[sinker.Response]()
        for number, _, dealt_with in await _ask(self._requests, datums):
            responses.append(
                sinker.Response.as_success(number)
                if dealt_with
                else sinker.Response.as_failure(number, "the sink ended before it had it")
            )
        return responses


async def _ask(requests: RequestQueue, datums: AsyncIterable[Any]) -> list[tuple[str, PendingRequest, bool]]:
    """Hand a batch to the vertex as it comes in; return each datum's id, its request and what came of it."""
    asked: list[tuple[str, PendingRequest]] = []
    batches, batch = _BATCHES.get(), asyncio.current_task()
    if batch is not None:
        batches.add(batch)
        batch.add_done_callback(batches.discard)
    requests.begin_batch()
    try:
        try:
            async for datum in datums:
                asked.append((datum.id, requests.put(datum.value)))  # noqa: PERF401 - each goes on as it comes
        finally:
            requests.end_batch()
        return [(number, request, await request.acknowledged) for number, request in asked]
    except asyncio.CancelledError:
        requests.withdraw([request for _, request in asked])
        raise


def _open_stream(requests: RequestQueue, context: Any) -> None:  # noqa: ANN401 - gRPC's
    """Take note of a stream; when it ends, a batch that was still coming in will not be complete."""
    batches: set[asyncio.Task[Any]] = set()
    _BATCHES.set(batches)
    requests.streams += 1

    def close(_: object) -> None:
        requests.streams -= 1
        for batch in list(batches):
            batch.cancel()

    context.add_done_callback(close)


def event_time(name: str) -> datetime:
    """Return the detector's time stamp as Numaflow's event time; now, where the detector sends none."""
    time_ns = detector_time_ns(name)
    return _EPOCH + timedelta(microseconds=time_ns // 1000) if time_ns else datetime.now(UTC)


def _info(kind: ContainerType) -> ServerInfo:
    info = ServerInfo.get_default_server_info()
    info.minimum_numaflow_version = MINIMUM_NUMAFLOW_VERSION[kind]
    return info


class _Calm(logging.Filter):
    """Leaves out what pynumaflow calls critical when a call only was cancelled."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        return error is None or not issubclass(error, asyncio.CancelledError)


def _quieten() -> None:
    """Let pynumaflow log as everybody does: its own handlers write to the standard output."""
    logger = logging.getLogger(numaflow.__name__)
    logger.handlers.clear()
    if not logger.filters:
        logger.addFilter(_Calm())
