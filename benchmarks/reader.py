"""Measure messages per second from a work queue, with the client library's fetch and with the prefetching reader."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nats.js import JetStreamContext

from charon.adapters.nats import EdgeReader, EdgeWriter, NatsConnection, NatsServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Read = Callable[[], Awaitable[int]]


def main() -> None:
    """Print the message rate and the CPU time of both readers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--bytes", type=int, default=65_536)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        try:
            asyncio.run(_measure(server, options))
        finally:
            server.stop()


async def _measure(server: NatsServer, options: argparse.Namespace) -> None:
    connection = await NatsConnection.connect(server.address, "benchmark")
    for edge, make in {"fetch": _fetch, "EdgeReader": _edge_reader}.items():
        await connection.streams.create(
            edge, storage="memory", max_bytes=2**31, max_messages=100_000, ack_wait_s=30.0, max_ack_pending=1000
        )
        read = await make(connection, edge, options.batch)
        writer, payload = EdgeWriter(connection, edge), bytes(options.bytes)
        for first in range(0, options.messages, 100):
            names = range(first, min(first + 100, options.messages))
            await asyncio.gather(*(writer.send(payload, f"{edge}-{k}") for k in names))
        received, started, started_cpu = 0, time.perf_counter(), time.process_time()
        while received < options.messages:
            received += await read()
        elapsed_s, cpu_s = time.perf_counter() - started, time.process_time() - started_cpu
        print(
            f"{edge}: {received / elapsed_s:.0f} messages/s of {options.bytes} bytes in batches of {options.batch}, "
            f"{cpu_s / received * 1e6:.0f} us of CPU time per message"
        )
    await connection.close()


async def _fetch(connection: NatsConnection, edge: str, batch: int) -> Read:
    jetstream = connection.client.jetstream()
    assert isinstance(jetstream, JetStreamContext)
    subscription = await jetstream.pull_subscribe_bind("reader", edge)

    async def read() -> int:
        messages = await subscription.fetch(batch, timeout=1)
        for message in messages:
            await message.ack()
        return len(messages)

    return read


async def _edge_reader(connection: NatsConnection, edge: str, batch: int) -> Read:
    reader = EdgeReader(connection, edge, max(2 * batch, 16))

    async def read() -> int:
        deliveries = await reader.batch(batch, 0)
        for delivery in deliveries:
            await delivery.ack()
        return len(deliveries)

    return read


if __name__ == "__main__":
    main()
