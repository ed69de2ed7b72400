"""Drive the vertices' containers from a pod, over the sockets that Numaflow's containers would share with them.

This is a client of Numaflow's protocol, not Numaflow: its buffers are lists in memory.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from numaflow_client import MapClient, Pipeline, SinkClient, SourceClient

SOCKETS = Path("/sockets")


async def main(frames: int, timeout_s: float) -> None:
    """Drive until every sink has received every frame, and print each state as a line of JSON."""
    async with AsyncExitStack() as stack:
        source = await stack.enter_async_context(SourceClient(SOCKETS / "in-0"))
        maps = [await stack.enter_async_context(MapClient(SOCKETS / f"cat-{replica}")) for replica in range(2)]
        sinks = [await stack.enter_async_context(SinkClient(SOCKETS / f"{name}-0")) for name in ("image", "out")]
        print(json.dumps({"state": "driving"}), flush=True)
        pipeline = await stack.enter_async_context(Pipeline([source], maps, sinks))
        await pipeline.until(lambda: pipeline.stored >= 1, timeout_s)
        start = time.monotonic()
        print(json.dumps({"state": "first"}), flush=True)
        await pipeline.until(lambda: pipeline.stored == frames * len(sinks), timeout_s)
        result = {
            "state": "done",
            "seconds": time.monotonic() - start,
            "lost_replicas": pipeline.lost_replicas,
            "dropped": pipeline.dropped,
            "repeats": pipeline.frames.repeats,
            "pending": await source.pending(),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
