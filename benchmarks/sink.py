"""Measure the image sink: patches per second, latency at given rates, and memory over a long run."""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charon.frames import FrameId, Patch, encode
from charon.vertices.sinks.image_sink import ImageSink
from charon.vertices.stats import resident_bytes

if TYPE_CHECKING:
    from charon.adapters.storage.patch_log import Fsync


def main() -> None:
    """Send patches to an image sink and print figures for each rate and fsync mode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=3000)
    parser.add_argument("--size", type=int, default=128, help="pixels along a side of a patch")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--rates", type=float, nargs="*", default=[100.0, 300.0, 0.0], help="patches per second; 0 for full speed"
    )
    parser.add_argument("--fsync", nargs="*", choices=["batch", "off"], default=["off", "batch"])
    parser.add_argument(
        "--folder", type=Path, help="parent of the output folders; default: the system's temporary folder"
    )
    options = parser.parse_args()
    for rate, fsync in itertools.product(options.rates, options.fsync):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            print(_run(Path(folder), options, rate, fsync))


def _run(folder: Path, options: argparse.Namespace, rate: float, fsync: Fsync) -> str:
    sink = ImageSink(folder, run="bench", fsync=fsync)
    phases = np.random.default_rng(1).uniform(-1, 1, (16, options.size, options.size)).astype(np.float32)
    run_started, busy, busy_cpu = time.perf_counter(), 0.0, 0.0
    memory: list[int] = []
    for first in range(0, options.patches, options.batch):
        if rate:
            time.sleep(max(0.0, run_started + first / rate - time.perf_counter()))
        messages = [_message(k, phases) for k in range(first, min(first + options.batch, options.patches))]
        started, started_cpu = time.perf_counter(), time.process_time()
        sink.accept(messages)
        sink.tick()
        busy += time.perf_counter() - started
        busy_cpu += time.process_time() - started_cpu
        if first * 10 >= options.patches * len(memory):
            memory.append(resident_bytes())
    image = sink.report().image
    if image is None:
        raise RuntimeError("the sink has no image report")
    latency = image.since_detector.summary
    sink.close()
    started = time.perf_counter()
    ImageSink(folder, run="bench", fsync=fsync).close()
    rebuild_s = time.perf_counter() - started
    speed = f"{rate:.0f}/s" if rate else "at full speed"
    return (
        f"{options.size}x{options.size} in batches of {options.batch}, {speed}, fsync {fsync}: "
        f"{options.patches / busy:.0f} patches/s on the sink's thread, "
        f"{busy_cpu / options.patches * 1e3:.2f} ms of CPU time per patch, "
        f"latency p50 {latency.p50:.1f} p99 {latency.p99:.1f} max {latency.max:.1f} ms, "
        f"memory in MiB after each tenth: {' '.join(f'{m / 2**20:.0f}' for m in memory)}, "
        f"rebuilt in {rebuild_s:.2f} s"
    )


def _message(k: int, phases: np.ndarray) -> bytes:
    now = time.time_ns()
    position_m = (k % 200 * 20e-9, k // 200 % 200 * 20e-9)
    frame = FrameId("ad:image", k, now, 1)
    times = {"received": now, "accepted": now, "inferred": now}
    return encode(
        Patch(frame, "bench", phases[k % 16], 10e-9, "bench@1", scan="bench", position_m=position_m, times_ns=times)
    )


if __name__ == "__main__":
    main()
