"""Draining a run: the sources stop first, then each vertex when its inlets are empty."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from charon.adapters.nats import LedgerPage
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.engines.embedded.buffers import Buffers
    from charon.engines.embedded.processes import Process
    from charon.engines.embedded.supervision import Supervision
    from charon.engines.manifest import Pipeline

_BACKLOG_POLL_INTERVAL_S = 0.03
_EXIT_POLL_INTERVAL_S = 0.5
# A draining vertex updates its page several times a second.
_PAGE_TIMEOUT_S = 60.0


async def drain(
    pipeline: Pipeline,
    processes: Mapping[str, Sequence[Process]],
    buffers: Buffers,
    supervision: Supervision,
    timeout_s: float | None = None,
) -> bool:
    """End all vertices in the order of the pipeline; return whether all accepted frames were processed.

    Parameters
    ----------
    pipeline
        The manifest.
    processes
        Processes of each vertex.
    buffers
        The edges of the run.
    supervision
        Its failure ends the wait for an edge.
    timeout_s
        Maximum time; None waits as long as the vertices make progress.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    complete = True
    for vertex in pipeline.spec.in_order():
        for edge, name in buffers.edges.items():
            if edge.to == vertex.name:
                complete &= await _until_empty(name, buffers, supervision, deadline)
        for process in processes[vertex.name]:
            process.terminate()
        for process in processes[vertex.name]:
            complete &= await _until_exited(process, buffers, deadline)
    return complete


async def _until_empty(edge: str, buffers: Buffers, supervision: Supervision, deadline: float | None) -> bool:
    while supervision.failure is None:
        if await buffers.backlog(edge) == 0:
            return True
        if _passed(deadline):
            return False
        await asyncio.sleep(_BACKLOG_POLL_INTERVAL_S)
    return False


async def _until_exited(process: Process, buffers: Buffers, deadline: float | None) -> bool:
    """Wait for a terminated process; kill it after the deadline or if it no longer updates its page."""
    last, since = 0, time.monotonic()
    while not await process.exits_within(_EXIT_POLL_INTERVAL_S):
        # While the ledger is unavailable, the process counts as alive.
        updated = last + 1
        with suppress(UnavailableError, ValueError):
            page = await LedgerPage(buffers.connection.ledger, process.name).load()
            updated = updated if page is None else page.process.updated_ns
        if updated != last:
            last, since = updated, time.monotonic()
        if time.monotonic() - since > _PAGE_TIMEOUT_S or _passed(deadline):
            process.kill()
            return False
    return True


def _passed(deadline: float | None) -> bool:
    return deadline is not None and time.monotonic() > deadline
