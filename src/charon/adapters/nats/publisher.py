"""Publishing to a stream with confirmation, at a low cost for each message.

nats-py's ``publish_async`` creates a task to acquire a semaphore and a second one to wait for each response. Here all
responses share one inbox, and a message costs a future and a timer; ``benchmarks/buffer.py`` measures it.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from charon.adapters.nats.error_codes import NO_STREAM
from charon.adapters.nats.errors import RejectedError

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from charon.adapters.nats.client import Client


class Publisher:
    """Publishes messages and waits until the stream has confirmed each.

    Parameters
    ----------
    client
        A connected client; it may lose its connection and reconnect.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = ""
        self._count = 0
        self._pending: dict[str, asyncio.Future[bool]] = {}

    async def send(self, subject: str, payload: bytes, message_id: str, timeout_s: float) -> bool:
        """Publish a message and return whether its id was new to the stream.

        Raises
        ------
        RejectedError
            If the stream rejects the message.
        TimeoutError
            If no response arrives in time; the stream may or may not have the message.
        nats.errors.Error
            If the client cannot publish.
        """
        if not self._inbox:
            inbox = self._client.new_inbox()
            await self._client.subscribe(f"{inbox}.*", cb=self._on_response)
            self._inbox = inbox
        self._count += 1
        token = str(self._count)
        loop = asyncio.get_running_loop()
        response: asyncio.Future[bool] = loop.create_future()
        self._pending[token] = response
        timer = loop.call_later(timeout_s, _time_out, response)
        try:
            headers = {"Nats-Msg-Id": message_id}
            await self._client.publish(subject, payload, reply=f"{self._inbox}.{token}", headers=headers)
            return await response
        finally:
            timer.cancel()
            del self._pending[token]

    async def _on_response(self, msg: Msg) -> None:
        response = self._pending.get(msg.subject.rpartition(".")[2])
        if response is None or response.done():
            return
        if not msg.data:
            response.set_exception(RejectedError(NO_STREAM, "no stream captures the subject"))
            return
        result: dict[str, Any] = json.loads(msg.data)
        error = result.get("error")
        if error is None:
            response.set_result(not result.get("duplicate", False))
        else:
            response.set_exception(RejectedError(int(error.get("err_code", 0)), str(error.get("description", ""))))


def _time_out(response: asyncio.Future[bool]) -> None:
    if not response.done():
        response.set_exception(TimeoutError())
