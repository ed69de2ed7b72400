"""Print what a message of an edge costs: processor time of its writer and reader, and of the nats-server.

.venv/bin/python benchmarks/buffer.py [bytes] [messages a second, 0 for all at once]
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
    """Write all messages, 64 unconfirmed at most."""
    places = asyncio.Semaphore(64)
    started = time.perf_counter()

    async def one(number: int) -> None:
        await writer.send(payload, f"bench/1/{number}")
        places.release()

    async with asyncio.TaskGroup() as group:
        for number in range(MESSAGES):
            await places.acquire()
            if rate:
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            group.create_task(one(number))


async def read(reader: EdgeReader) -> None:
    """Read and acknowledge all messages."""
    got = 0
    while got < MESSAGES:
        for delivery in await reader.batch(8, 0.002):
            await delivery.ack()
            got += 1


async def main(size: int, rate: float) -> None:
    """Measure one size at one rate."""
    with tempfile.TemporaryDirectory() as folder:
        server = NatsServer(Path(folder))
        server.start()
        bus = await NatsConnection.connect(server.address, "bench")
        await bus.streams.create(
            "bench", storage="memory", max_bytes=2**30, max_messages=30_000, ack_wait_s=5, max_ack_pending=1000
        )
        process = psutil.Process(server.pid)
        own, theirs, started = time.process_time(), sum(process.cpu_times()[:2]), time.perf_counter()
        await asyncio.gather(write(EdgeWriter(bus, "bench"), os.urandom(size), rate), read(EdgeReader(bus, "bench")))
        elapsed = time.perf_counter() - started
        own, theirs = time.process_time() - own, sum(process.cpu_times()[:2]) - theirs
        await bus.close()
        server.stop()
    print(
        f"{size} bytes: {MESSAGES / elapsed:.0f} messages/s; processor time a message: "
        f"writer and reader {own / MESSAGES * 1e6:.0f} us, nats-server {theirs / MESSAGES * 1e6:.0f} us"
    )


if __name__ == "__main__":
    asyncio.run(main(int((sys.argv[1:] or ["65600"])[0]), float((sys.argv[2:] or ["0"])[0])))
