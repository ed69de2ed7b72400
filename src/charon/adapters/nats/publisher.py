"""Publishing to a stream and hearing that it has it, at a cost that a frame can bear.

The client library's ``publish_async`` makes a task to take a place in a semaphore and a further one to wait
for each answer. Here one inbox takes all answers and a message costs a future and a timer; measured with
``benchmarks/buffer.py``.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg


class RefusedError(Exception):
    """The server's own word that it does not take a message.

    Parameters
    ----------
    number
        JetStream's number of the error; 503 where no stream takes the subject.
    text
        What the server says.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(text)
        self.number = number
        self.text = text


class Publisher:
    """Sends messages and resolves each when the stream has confirmed it.

    Parameters
    ----------
    client
        A connected client; it may lose its server and find it again.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._inbox = ""
        self._count = 0
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    async def send(self, subject: str, payload: bytes, name: str, timeout_s: float) -> bool:
        """Send one message under a name; return whether it was new when the stream has it.

        Raises
        ------
        RefusedError
            If the stream does not take it.
        TimeoutError
            If no answer comes in time: it may or may not be there.
        nats.errors.Error
            If the client cannot send it.
        """
        if not self._inbox:
            inbox = self._client.new_inbox()
            await self._client.subscribe(f"{inbox}.*", cb=self._take)
            self._inbox = inbox
        self._count += 1
        token = str(self._count)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[bool] = loop.create_future()
        self._waiting[token] = answer
        timer = loop.call_later(timeout_s, _give_up, answer)
        try:
            await self._client.publish(subject, payload, reply=f"{self._inbox}.{token}", headers={"Nats-Msg-Id": name})
            return await answer
        finally:
            timer.cancel()
            del self._waiting[token]

    async def _take(self, msg: Msg) -> None:
        answer = self._waiting.get(msg.subject.rpartition(".")[2])
        if answer is None or answer.done():
            return
        if not msg.data:
            answer.set_exception(RefusedError(503, "no stream takes it"))
            return
        told: dict[str, Any] = json.loads(msg.data)
        error = told.get("error")
        if error is None:
            answer.set_result(not told.get("duplicate", False))
        else:
            answer.set_exception(RefusedError(int(error.get("err_code", 0)), str(error.get("description", ""))))


def _give_up(answer: asyncio.Future[bool]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())
