"""Supervision of a run: restarts of its processes and its server, warnings, and the failure that ends it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from charon.tasks import task_group

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger(__name__)
_INTERVAL_S = 0.05


class EngineError(RuntimeError):
    """The run cannot continue; the message names the vertex and the reason."""


class SupervisedProcess(Protocol):
    """A process that can be restarted; `charon.engines.embedded.processes.Process` implements it."""

    failure: str

    def supervise(self) -> str | None:
        """Restart the process if it has exited; return a message for the user, if any."""
        ...


class SupervisedBuffers(Protocol):
    """Buffers whose server can be restarted; `charon.engines.embedded.buffers.Buffers` implements it."""

    failure: str | None

    async def supervise(self) -> None:
        """Restart the server if it has exited."""
        ...

    async def monitor_disk(self) -> None:
        """Restart the server when a full disk has space again; runs until cancelled."""
        ...


class Supervision:
    """Restarts processes and the nats-server, until one of them exits too often."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self, processes: Sequence[SupervisedProcess], buffers: SupervisedBuffers, *, monitor_disk: bool) -> None:
        """Supervise processes and buffers in a background task."""
        self._task = asyncio.create_task(self._run(processes, buffers, monitor_disk=monitor_disk))

    async def stop(self) -> None:
        """Stop supervising."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def warn(self, message: str) -> None:
        """Log a message and keep it for the summary of the run."""
        self.messages.append(message)
        _log.warning("%s", message)

    def raise_failure(self) -> None:
        """Raise EngineError if the run has failed."""
        if self.failure is not None:
            raise EngineError(self.failure)

    async def _run(
        self, processes: Sequence[SupervisedProcess], buffers: SupervisedBuffers, *, monitor_disk: bool
    ) -> None:
        """Supervise until cancelled; an unexpected error becomes the failure of the run."""
        try:
            async with task_group() as tasks:
                tasks.create_task(self._supervise(processes, buffers))
                if monitor_disk:
                    tasks.create_task(buffers.monitor_disk())
        except Exception as error:  # noqa: BLE001 - reported as the failure of the run
            _log.exception("the supervision of the run failed")
            self.failure = self.failure or f"the supervision of the run failed: {error!r}"

    async def _supervise(self, processes: Sequence[SupervisedProcess], buffers: SupervisedBuffers) -> None:
        while True:
            for process in processes:
                message = process.supervise()
                if message:
                    self.warn(message)
                self.failure = self.failure or process.failure or None
            await buffers.supervise()
            self.failure = self.failure or buffers.failure
            await asyncio.sleep(_INTERVAL_S)
