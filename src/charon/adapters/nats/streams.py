"""Streams of the edges: one work queue for each edge, with one consumer that all its readers share."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nats.errors import Error as NatsError
from nats.js import api
from nats.js.errors import NotFoundError, ServerError

from charon.adapters.nats.error_codes import INSUFFICIENT_RESOURCES, STREAM_UPDATE_INVALID
from charon.adapters.nats.errors import describe
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from charon.adapters.nats.client import JetStream

_log = logging.getLogger(__name__)
Storage = Literal["memory", "file"]
READER = "reader"
"""Durable name of the consumer that all readers of an edge share."""
_DUPLICATE_WINDOW_S = 120
_MAX_WAITING_PULLS = 512


def storage_type(storage: Storage) -> api.StorageType:
    """Return JetStream's storage type for memory or files."""
    return api.StorageType.MEMORY if storage == "memory" else api.StorageType.FILE


@dataclass(frozen=True, slots=True)
class EdgeState:
    """State of the buffer of one edge.

    Parameters
    ----------
    waiting
        Messages in the buffer, delivered or not.
    ack_pending
        Messages that are delivered and not acknowledged.
    size_bytes, limit_bytes
        Size of the buffer's content and its limit.
    """

    waiting: int
    ack_pending: int
    size_bytes: int
    limit_bytes: int


class EdgeStreams:
    """The streams of a nats-server that buffer a pipeline's edges.

    Parameters
    ----------
    jetstream
        Management API of the server.
    """

    def __init__(self, jetstream: JetStream) -> None:
        self._jetstream = jetstream

    async def create(
        self,
        edge: str,
        *,
        storage: Storage,
        max_bytes: int,
        max_messages: int,
        ack_wait_s: float,
        max_ack_pending: int,
    ) -> None:
        """Create the work queue of an edge and its shared consumer, or update the limits of existing ones.

        A full queue refuses new messages: its writer waits, and no queued message is lost.

        Raises
        ------
        UnavailableError
            If the server lacks memory or disk space for the buffer.
        UsageError
            If the buffer exists in the other storage.
        """
        config = api.StreamConfig(
            name=edge,
            subjects=[edge],
            retention=api.RetentionPolicy.WORK_QUEUE,
            discard=api.DiscardPolicy.NEW,
            storage=storage_type(storage),
            max_bytes=max_bytes,
            max_msgs=max_messages,
            duplicate_window=_DUPLICATE_WINDOW_S,
        )
        try:
            await self._create_or_update(config)
        except ServerError as error:
            if error.err_code == STREAM_UPDATE_INVALID:
                raise UsageError(
                    f"edge {edge}: the buffer exists and cannot be changed ({error.description});"
                    " use the --storage with which it was created"
                ) from error
            if error.err_code not in INSUFFICIENT_RESOURCES:
                raise
            size = f"{max_bytes / 2**20:.0f} MiB"
            raise UnavailableError(
                f"edge {edge}: nats-server cannot allocate a buffer of {size} ({error.description});"
                " set a smaller --buffer-mib"
            ) from error
        await self._jetstream.add_consumer(
            edge,
            api.ConsumerConfig(
                durable_name=READER,
                ack_policy=api.AckPolicy.EXPLICIT,
                ack_wait=ack_wait_s,
                max_deliver=-1,
                max_ack_pending=max_ack_pending,
                max_waiting=_MAX_WAITING_PULLS,
            ),
        )

    async def _create_or_update(self, config: api.StreamConfig) -> None:
        """Create a stream; an existing one, of a resumed run, keeps its messages and gets the new limits."""
        try:
            existing = (await self._jetstream.stream_info(str(config.name))).config
        except NotFoundError:
            await self._jetstream.add_stream(config)
            return
        if all(getattr(existing, name) == getattr(config, name) for name in ("storage", "max_bytes", "max_msgs")):
            return
        try:
            await self._jetstream.update_stream(config)
        except ServerError as error:
            if error.err_code not in INSUFFICIENT_RESOURCES:
                raise
            # The server adds up the sizes of all existing streams, even when one of them shrinks.
            _log.warning("edge %s: the buffer keeps its previous size limit (%s)", config.name, error.description)

    async def names(self) -> list[str]:
        """Return the names of all edges.

        Raises
        ------
        UnavailableError
            If the server does not respond.
        """
        try:
            streams = await self._jetstream.streams_info()
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"cannot list the streams of nats-server: {describe(error)}") from error
        # JetStream keeps key-value buckets in streams with this prefix.
        return [str(s.config.name) for s in streams if not str(s.config.name).startswith("KV_")]

    async def state(self, edge: str, consumer: str = READER) -> EdgeState:
        """Return the state of an edge's buffer.

        Parameters
        ----------
        edge
            Name of its stream.
        consumer
            Name of the consumer that its readers share.

        Raises
        ------
        UnavailableError
            If the server does not respond, or the stream or its consumer is missing.
        """
        try:
            stream = await self._jetstream.stream_info(edge)
            info = await self._jetstream.consumer_info(edge, consumer)
        except (NatsError, TimeoutError) as error:
            raise UnavailableError(f"edge {edge}: cannot read the state of the buffer: {describe(error)}") from error
        return EdgeState(
            waiting=stream.state.messages,
            ack_pending=info.num_ack_pending or 0,
            size_bytes=stream.state.bytes,
            limit_bytes=stream.config.max_bytes or 0,
        )
