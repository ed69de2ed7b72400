"""Publish a message to every outlet of a vertex."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.tasks import task_group

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.vertices.ports import Outlet


async def publish(outlets: Sequence[Outlet], payload: bytes, name: str) -> bool:
    """Send a message to every outlet and return, once all confirmed it, whether its name was new to all of them."""
    if len(outlets) == 1:
        # The common case needs no task, which matters at thousands of frames per second.
        return await outlets[0].send(payload, name)
    async with task_group() as tasks:
        sends = [tasks.create_task(outlet.send(payload, name)) for outlet in outlets]
    return all(send.result() for send in sends)
