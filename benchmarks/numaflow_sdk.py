"""Measure Charon's vertices with pynumaflow's servicers and a client of the protocol over Unix sockets.

The figures do not include Numaflow's data plane and JetStream: the client of the tests replaces them, a Python process
with lists as buffers, which uses CPU time as well. They show the cost of the gRPC servers.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "system" / "numaflow"))

from numaflow_client import MapClient, Pipeline, SinkClient, SourceClient  # noqa: E402 - in the folder added above

from charon.frames import FrameId, Patch, decode, encode  # noqa: E402

if TYPE_CHECKING:
    from charon.frames import Frame

Figures = dict[str, Any]
_ROLES = {
    "in": ("source", "--model", "ptychonn2-sim"),
    "cat": ("inference", "--model", "ptychonn2-sim"),
    "image": ("image-sink", "--model", "ptychonn2-sim"),
}


class Vertices:
    """Three vertices, each with its own process and folder."""

    def __init__(self, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.folders = {vertex: Path(tempfile.mkdtemp(prefix="nf-")) for vertex in _ROLES}
        self._log = (output / "vertices.log").open("wb")
        self._processes = [self._start(vertex, role, output) for vertex, role in _ROLES.items()]

    def _start(self, vertex: str, role: tuple[str, ...], output: Path) -> subprocess.Popen[bytes]:
        environment = os.environ | {
            "CHARON_ENGINE": "numaflow",
            "NUMAFLOW_NAMESPACE": "default",
            "NUMAFLOW_PIPELINE_NAME": "bench",
            "NUMAFLOW_VERTEX_NAME": vertex,
            "NUMAFLOW_REPLICA": "0",
            "CHARON_NUMAFLOW_SOCKETS": str(self.folders[vertex]),
            "CHARON_OUTPUT": str(output),
        }
        command = [sys.executable, "-m", "charon.cli.vertex", *role]
        return subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log)

    def stop(self) -> dict[str, Figures]:
        """Stop the vertices and return their final pages."""
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(60)
        pages = {
            vertex: json.loads((folder / f"charon-page-{vertex}.0.json").read_text())
            for vertex, folder in self.folders.items()
        }
        for folder in self.folders.values():
            shutil.rmtree(folder)
        self._log.close()
        return pages


def measure_numaflow_sdk(output: Path) -> Figures:
    """Measure the highest rate without loss, the latency at 100 frames/s, and the share of each server."""
    shutil.rmtree(output, ignore_errors=True)
    figures: Figures = {"without": "Numaflow's data plane, JetStream", "hops": asyncio.run(_hops(output / "hops"))}
    figures["at_100_hz"] = asyncio.run(_trial(output / "100", 100, 1000))
    steps, best = [], 0.0
    for rate in (150, 200, 250, 300):
        step = asyncio.run(_trial(output / str(rate), rate, 8 * rate))
        steps.append(step)
        if not step["kept_up"]:
            break
        best = step["achieved_hz"]
    return {**figures, "highest_loss_free_hz": best, "steps": steps}


async def _trial(output: Path, rate: int, frames: int) -> Figures:
    vertices = Vertices(output)
    report = output / "detector.json"
    detector = None
    pages: dict[str, Figures] = {}
    try:
        async with (
            SourceClient(vertices.folders["in"]) as source,
            MapClient(vertices.folders["cat"]) as mapper,
            SinkClient(vertices.folders["image"]) as sink,
            Pipeline([source], [mapper], [sink]) as pipeline,
        ):
            options = f"--wait-for-client --frame-rate {rate} --n-frames {frames} --report-period 0 --report {report}"
            prepared = "--prepare-all --cache-size 600 --points 600 --scan spiral"
            command = [sys.executable, "-m", "charon.cli.main", "detector", *options.split(), *prepared.split()]
            detector = await asyncio.create_subprocess_exec(*command)
            published = asyncio.create_task(detector.wait())
            await pipeline.until(published.done, 120)
            ended = time.monotonic()
            missed = len(json.loads((vertices.folders["in"] / "charon-page-in.0.json").read_text())["warnings"])
            await pipeline.until(lambda: pipeline.stored >= frames or time.monotonic() - ended > 30, 60)
            drained = time.monotonic() - ended
            stored = pipeline.stored
    finally:
        if detector is not None and detector.returncode is None:
            detector.kill()
        pages = await asyncio.to_thread(vertices.stop)
    detector_report = json.loads(report.read_text())
    return {
        "requested_hz": rate,
        "achieved_hz": detector_report["achieved_hz"],
        "published": detector_report["published"],
        "stored": stored,
        "missed_or_warned": missed - 1,
        "drain_s": round(drained, 2),
        # The detector runs for a second after its last frame.
        "kept_up": stored == frames and drained < 0.25,
        "latency_ms": pages["image"]["latency_ms"],
        "batches": pages["cat"]["batches"],
        "cpu_ms_per_frame": {vertex: round(page["cpu_s"] / frames * 1e3, 2) for vertex, page in pages.items()},
    }


async def _hops(output: Path, count: int = 400) -> Figures:
    """Return p50 and p99 in ms of one message of 128 KiB through each server alone."""
    vertices = Vertices(output)
    detector = None
    frames = 300
    try:
        async with (
            SourceClient(vertices.folders["in"]) as source,
            MapClient(vertices.folders["cat"]) as mapper,
            SinkClient(vertices.folders["image"]) as sink,
        ):
            command = [sys.executable, "-m", "charon.cli.main", "detector", "--wait-for-client", "--prepare-all"]
            command += f"--frame-rate 100 --n-frames {frames} --points 300 --scan spiral --report-period 0".split()
            detector = await asyncio.create_subprocess_exec(*command)
            delays_ms: list[float] = []
            while len(delays_ms) < frames:
                results = await source.read(8, 5000)
                now_ns = time.time_ns()
                frames_read = [cast("Frame", decode(result.payload)) for result in results]
                delays_ms += [(now_ns - frame.times_ns["accepted"]) / 1e6 for frame in frames_read]
                if results:
                    await source.ack(results)
            mapped_ms, stored_ms = [], []
            for n in range(count):
                payload = _patch(n)
                started = time.perf_counter()
                await mapper.map([(f"{n}-0", payload)])
                between = time.perf_counter()
                await sink.sink([(f"cat-{n}-0-0", payload)])
                mapped_ms.append((between - started) * 1e3)
                stored_ms.append((time.perf_counter() - between) * 1e3)
    finally:
        if detector is not None and detector.returncode is None:
            detector.kill()
        await asyncio.to_thread(vertices.stop)
    return {
        "source_ready_to_read_ms": _spread(delays_ms),
        "map_without_inference_ms": _spread(mapped_ms),
        "image_sink_ms": _spread(stored_ms),
    }


def _patch(number: int) -> bytes:
    phase = np.zeros((128, 128), np.float32)
    frame_id = FrameId("ad:image", number, 1_700_000_000_000_000_000 + number, 1)
    return encode(Patch(frame_id, "bench", phase, 1e-8, "none@1", amplitude=phase, position_m=(0.0, number * 1e-9)))


def _spread(values: list[float]) -> dict[str, float]:
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2)}
