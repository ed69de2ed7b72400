"""Structured concurrency: a task group that raises its first failure directly."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

_log = logging.getLogger(__name__)


@asynccontextmanager
async def task_group() -> AsyncGenerator[asyncio.TaskGroup]:
    """Run tasks in an ``asyncio.TaskGroup`` and raise its first failure instead of an exception group.

    Callers can then catch the failure by its type, and the last line of a traceback names it. Further failures are
    logged with their tracebacks, unless they repeat the first one.
    """
    failures: list[BaseException] = []
    try:
        async with asyncio.TaskGroup() as tasks:
            yield tasks
    except BaseExceptionGroup as group:
        failures = _leaves(group)
    if not failures:
        return
    first, *others = failures
    for other in others:
        # Tasks often fail for the same reason, such as the requests for the parts of an invalid query.
        if (type(other), str(other)) != (type(first), str(first)):
            _log.error("another task failed: %s", other, exc_info=other)
    context = first.__context__
    try:
        raise first
    finally:
        # Raising here would otherwise replace the context with the cancellation of the block.
        first.__context__ = context


def _leaves(error: BaseException) -> list[BaseException]:
    """Return the exceptions of nested groups in order, each once."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    members: tuple[BaseException, ...] = cast("Any", error).exceptions
    leaves = {id(leaf): leaf for member in members for leaf in _leaves(member)}
    return list(leaves.values())
