"""A gRPC server on a Unix socket, with the information file that Numaflow's container waits for.

pynumaflow's own servers end the process when Numaflow's container disconnects, and cancel all calls at SIGTERM.
Here its servicers run in a server of this module, so that unacknowledged messages survive both.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import grpc
from pynumaflow import _constants as numaflow
from pynumaflow.info.server import write as write_server_info

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pynumaflow.info.types import ServerInfo

_log = logging.getLogger(__name__)
# JetStream's payload limit of 64 MiB, plus gRPC's overhead.
MAX_MESSAGE_BYTES = 65 * 2**20
_STOP_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Service:
    """A servicer and the files through which Numaflow finds it.

    Parameters
    ----------
    register
        Adds the servicer to a server.
    socket, info_file
        File names of the socket and of the information file.
    info
        Content of the information file.
    """

    register: Callable[[Any], None]
    socket: str
    info_file: str
    info: ServerInfo


class GrpcServer:
    """Serves one service; a context manager that stops the server on exit.

    Parameters
    ----------
    service
        The service.
    folder
        Folder for the socket and the information file.
    """

    def __init__(self, service: Service, folder: Path) -> None:
        self._service = service
        self._folder = folder
        self._server: Any = None

    async def __aenter__(self) -> Self:
        # A file left by an earlier container would report this one as ready.
        (self._folder / self._service.info_file).unlink(missing_ok=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            await self._server.stop(_STOP_TIMEOUT_S)

    async def start(self) -> None:
        """Start serving and write the information file.

        Raises
        ------
        UnavailableError
            If the socket or the file cannot be created.
        """
        _configure_logging()
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
            # gRPC's error does not name the socket.
            raise UnavailableError(f"cannot serve at {socket}: {error}") from error
        _log.info("ready at %s", socket)


class _IgnoreCancelledCalls(logging.Filter):
    """Drops the records that pynumaflow logs as critical when a call was cancelled."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[0] if isinstance(record.exc_info, tuple) else None
        return error is None or not issubclass(error, asyncio.CancelledError)


def _configure_logging() -> None:
    """Send pynumaflow's log to the handlers of this process; its own handlers write to standard output."""
    logger = logging.getLogger(numaflow.__name__)
    logger.handlers.clear()
    if not logger.filters:
        logger.addFilter(_IgnoreCancelledCalls())
