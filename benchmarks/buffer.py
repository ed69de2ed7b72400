"""Measure the CPU time per message of an edge, for its writer and reader and for the nats-server.

.venv/bin/python benchmarks/buffer.py [bytes] [messages per second; 0 for no limit]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

import psutil

from charon.adapters.nats import EdgeReader, EdgeWriter, NatsConnection, NatsServer

MESSAGES = 4000


async def write(writer: EdgeWriter, payload: bytes, rate: float) -> None:
    """Write all messages, with at most 64 unconfirmed."""
    slots = asyncio.Semaphore(64)
    started = time.perf_counter()

    async def send(number: int) -> None:
        await writer.send(payload, f"bench/1/{number}")
        slots.release()

    async with asyncio.TaskGroup() as group:
        for number in range(MESSAGES):
            await slots.acquire()
            if rate:
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            group.create_task(send(number))


async def read(reader: EdgeReader) -> None:
    """Read and acknowledge all messages."""
    received = 0
    while received < MESSAGES:
        for delivery in await reader.batch(8, 0.002):
            await delivery.ack()
            received += 1


async def main(size: int, rate: float) -> None:
    """Measure messages of one size at one rate."""
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        connection = await NatsConnection.connect(server.address, "bench")
        await connection.streams.create(
            "bench", storage="memory", max_bytes=2**30, max_messages=30_000, ack_wait_s=5, max_ack_pending=1000
        )
        process = psutil.Process(server.pid)
        own_s, server_s, started = time.process_time(), sum(process.cpu_times()[:2]), time.perf_counter()
        await asyncio.gather(
            write(EdgeWriter(connection, "bench"), os.urandom(size), rate), read(EdgeReader(connection, "bench"))
        )
        elapsed = time.perf_counter() - started
        own_s, server_s = time.process_time() - own_s, sum(process.cpu_times()[:2]) - server_s
        await connection.close()
        server.stop()
    print(
        f"{size} bytes: {MESSAGES / elapsed:.0f} messages/s; CPU time per message: "
        f"writer and reader {own_s / MESSAGES * 1e6:.0f} us, nats-server {server_s / MESSAGES * 1e6:.0f} us"
    )


if __name__ == "__main__":
    asyncio.run(main(int((sys.argv[1:] or ["65600"])[0]), float((sys.argv[2:] or ["0"])[0])))
