"""Measure the CPU time that a record of the frame log costs the vertex that writes it."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from charon.frames import FrameId
from charon.ledger.frame_log import RECEIVED, FrameLog
from charon.vertices.sinks.stitch_log import StitchLog

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Print the cost of a record in source and inference, and in the image sink."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=200_000, help="number of records")
    records = parser.parse_args().records
    with tempfile.TemporaryDirectory() as folder:
        log, stitch_log = FrameLog(Path(folder) / "log"), StitchLog(Path(folder) / "stitched")
        print(f"source, inference: {_cost_us(lambda k: log.append(k, RECEIVED, time.time_ns()), records):.2f} us")
        print(f"image sink:        {_cost_us(lambda k: stitch_log.add(k, time.time_ns()), records):.2f} us")


def _cost_us(write: Callable[[FrameId], None], records: int) -> float:
    """Return the CPU time of a record in us."""
    frames = [FrameId("ad:image", k, 1_795_000_000_000_000_000 + k) for k in range(records)]
    started_s = time.process_time()
    for frame in frames:
        write(frame)
    return (time.process_time() - started_s) / records * 1e6


if __name__ == "__main__":
    main()
