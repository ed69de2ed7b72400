"""A synthetic engine: servers with a fixed service time behind a bounded queue, measured with the real figures."""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from charon.comparison.accounting import MatchedFrames, count_frames
from charon.comparison.figures import drain_s, has_kept_up, latency_figures, offered_hz, processed_hz
from charon.comparison.model import Cell, CellResult
from charon.comparison.samples import FrameSamples

SECOND = 10**9
START_NS = 1_700_000_000 * SECOND


@dataclass(frozen=True)
class QueueingModel:
    """Servers in parallel, one per replica; a frame that finds the queue full is lost.

    Frames are served in order. A batch of b frames adds b - 1 ms to the latency.
    """

    service_s: float
    queue: int = 10**9

    def run(self, cell: Cell) -> FrameSamples:
        """Return the frames of a cell."""
        condition = cell.condition
        arrivals_s = np.arange(condition.frames) / condition.rate_hz
        services_s = self.service_s * np.random.default_rng(cell.seed).uniform(0.9, 1.1, condition.frames)
        free_s = [0.0] * condition.replicas
        done_s = np.zeros(condition.frames)
        starts_s: deque[float] = deque()
        for k, arrival_s in enumerate(arrivals_s):
            while starts_s and starts_s[0] <= arrival_s:
                starts_s.popleft()
            if len(starts_s) > self.queue:
                continue
            start_s = max(arrival_s, heapq.heappop(free_s))
            done_s[k] = start_s + services_s[k]
            heapq.heappush(free_s, done_s[k])
            starts_s.append(start_s)
        published_ns = START_NS + np.round(arrivals_s * SECOND).astype(np.int64)
        processed = done_s > 0
        latency_s = done_s - arrivals_s + 0.001 * (condition.setting.batch - 1)
        return FrameSamples(
            unique_id=np.arange(1, condition.frames + 1, dtype=np.int64),
            published_ns=published_ns,
            received_ns=np.where(processed, published_ns + 1000, 0),
            result_ns=np.where(processed, published_ns + np.round(latency_s * SECOND).astype(np.int64), 0),
            stitched_ns=np.zeros(condition.frames, dtype=np.int64),
            results=processed.astype(np.int64),
            rejected=np.zeros(condition.frames, dtype=np.bool_),
        )


@dataclass
class SyntheticRunner:
    """`run_cell` of a machine with a queueing model per engine.

    Parameters
    ----------
    models
        Model of each engine.
    invalid
        Positions of calls, from 0, whose result is invalid.
    failing
        Engines whose cells cannot run.
    interrupt
        Position of the call that the user interrupts.
    detector_hz
        Highest rate of the detector; cells with a higher rate are invalid.
    keep_frames
        Whether to return the frames too; without them, the results folder is written faster.
    """

    models: dict[str, QueueingModel]
    invalid: frozenset[int] = frozenset()
    failing: frozenset[str] = frozenset()
    interrupt: int | None = None
    detector_hz: float = math.inf
    keep_frames: bool = True
    calls: list[tuple[Cell, int]] = field(default_factory=list)

    def __call__(self, cell, folder, *, attempt):
        """Run a cell."""
        position = len(self.calls)
        if position == self.interrupt:
            raise KeyboardInterrupt
        self.calls.append((cell, attempt))
        (folder / "engine.log").write_text("started\n")
        if cell.condition.engine in self.failing:
            return CellResult(
                cell=cell, attempt=attempt, failure="the engine does not start", started_ns=START_NS, ended_ns=START_NS
            ), None
        samples = self.models[cell.condition.engine].run(cell)
        result = synthetic_result(cell, attempt, samples)
        if position in self.invalid:
            result = result.model_copy(update={"invalid": "other work used 1.5 of 2 cores", "other_cpu": 1.5})
        elif cell.condition.rate_hz > self.detector_hz:
            late = {"invalid": "the detector was late", "offered_hz": self.detector_hz, "other_cpu": 0.0}
            result = result.model_copy(update=late)
        return result, samples if self.keep_frames else None


def synthetic_result(cell, attempt, samples):
    """Return the result of a cell with the figures of its frames."""
    from_ns = START_NS + round(cell.condition.warm_up_s * SECOND)
    latency = latency_figures(samples, "result", from_ns)
    return CellResult(
        cell=cell,
        attempt=attempt,
        offered_hz=offered_hz(samples, from_ns),
        processed_hz=processed_hz(samples, from_ns),
        counts=count_frames(MatchedFrames(samples, 0)),
        kept_up=has_kept_up(samples, from_ns),
        drain_s=drain_s(samples),
        latency_ms={} if latency is None else {"result": latency},
        cpu_ms_per_frame=5.0,
        rss_max_bytes=10**8,
        started_ns=START_NS,
        ended_ns=START_NS + 10 * SECOND,
    )
