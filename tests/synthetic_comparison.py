"""Results folder of a comparison that never ran: engines are queues with known rates, latencies and losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from charon.comparison import figures
from charon.comparison.model import (
    Cell,
    CellResult,
    ChosenSetting,
    Comparison,
    Condition,
    Engine,
    EngineSetting,
    FrameCounts,
    Machine,
    Part,
    Plan,
    ProcessFigures,
    RecoveryFigures,
)
from charon.comparison.results import ResultsFolder
from charon.comparison.samples import FrameSamples

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

START_NS = 1_764_324_000_000_000_000  # 2025-11-28T10:00:00Z
DOWN_S = 1.0
"""Time after SIGKILL until the replacement of a worker infers."""


@dataclass(frozen=True)
class Queue:
    """An engine: a queue with a rate, a latency without waiting, a limit, and its processes."""

    rate_hz: float
    latency_ms: float
    limit: float
    processes: dict[str, tuple[float, int]]  # CPU ms per frame, MiB

    def capacity_hz(self, replicas: int) -> float:
        """Return the rate of some replicas."""
        return self.rate_hz * replicas**0.8


QUEUES: dict[Engine, Queue] = {
    "embedded": Queue(
        210,
        5.2,
        np.inf,
        {"source.0": (1.9, 66), "cat.0": (3.6, 104), "image.0": (1.1, 106), "nats-server": (0.7, 58)},
    ),
    "baseline": Queue(380, 3.1, 250, {"mirror": (0.4, 41), "consumer.0": (3.3, 118)}),
}


def write_comparison(path: Path, plan: Plan, *, slowdown: float = 1.0, seed: int = 1) -> ResultsFolder:
    """Write the results of a plan; each engine needs `slowdown` times as long for a frame."""
    folder = ResultsFolder.create(path, comparison(plan))
    for result, samples in measure_all(plan, slowdown=slowdown, seed=seed):
        folder.add(result, samples)
    return folder


def measure_all(plan: Plan, *, slowdown: float = 1.0, seed: int = 1) -> Iterator[tuple[CellResult, FrameSamples]]:
    """Yield the results of all cells of a plan, with their frames."""
    random = np.random.default_rng(seed)
    for number, (condition, repetition) in enumerate(_cells(plan, slowdown), 1):
        cell = Cell(number=number, condition=condition, repetition=repetition, seed=plan.seed + repetition)
        yield measure(cell, random, slowdown=slowdown, start_ns=START_NS + number * 60_000_000_000)


def plan(**changes: object) -> Plan:
    """Return a plan of all parts."""
    values: dict[str, object] = {
        "engines": ["embedded", "baseline"],
        "rates_hz": [50.0, 100.0, 150.0, 300.0],
        "models": ["ptychonn2-sim"],
        "replicas": [1, 2],
        "repetitions": 3,
        "duration_s": 5.0,
        "warm_up_s": 1.0,
        "overload_s": 8.0,
        "parts": ["load", "maximum", "overload", "recovery", "noise"],
        "tolerance": 0.3,
        "stitch": True,
    }
    return Plan.model_validate(values | changes)


def comparison(plan: Plan) -> Comparison:
    """Return the description of a complete comparison."""
    return Comparison(
        plan=plan,
        machine=Machine(
            hostname="beamline-2",
            system="Linux 6.1.0-42-amd64",
            cpu="AMD EPYC 7763 64-Core Processor",
            cores=2,
            memory_bytes=24 << 30,
        ),
        command="charonctl compare --output 'out/<b>first</b>' --repetitions 3",
        versions={
            "charon-ptycho": "0.4.0",
            "Python": "3.11.7",
            "numpy": "2.4.6",
            "openvino": "2025.4",
            "pvapy": "5.6.0",
        },
        commit="0123456789abcdef0123456789abcdef01234567-dirty",
        started_ns=START_NS,
        ended_ns=START_NS + 3_600_000_000_000,
        settings=[
            ChosenSetting(
                engine=engine,
                model=model,
                setting=EngineSetting(batch=8, threads=2),
                reason="p50 7.9 ms, p99 16.0 ms with batches of 8 on 2 threads; 9.1 and 18.0 ms with batches of 1",
            )
            for engine in plan.engines
            for model in plan.models
        ],
    )


def add_unusable(folder: ResultsFolder) -> None:
    """Add an invalid cell, its repetition, and a failed one."""
    first = folder.results()[0]
    number = folder.results()[-1].cell.number + 1
    cell = first.cell.model_copy(update={"number": number})
    samples = folder.samples(first)
    reason = "other work used 0.91 cores during the measurement"
    folder.add(first.model_copy(update={"cell": cell, "invalid": reason, "other_cpu": 0.91}), samples)
    folder.add(first.model_copy(update={"cell": cell, "attempt": 2}), samples)
    failed = CellResult(
        cell=first.cell.model_copy(update={"number": number + 1}),
        failure="model 'huge' needs 31 GiB of memory, and 22 GiB are available",
        started_ns=START_NS,
        ended_ns=START_NS,
    )
    folder.add(failed, None)


def measure(
    cell: Cell, random: np.random.Generator, *, slowdown: float = 1.0, start_ns: int = START_NS
) -> tuple[CellResult, FrameSamples]:
    """Return the result of a cell, and its frames."""
    condition = cell.condition
    queue = QUEUES[condition.engine]
    down_s = None if condition.part != "recovery" else condition.warm_up_s + condition.duration_s / 2
    samples = _process(condition, queue, random, slowdown=slowdown, start_ns=start_ns, down_s=down_s)
    from_ns = start_ns + round(condition.warm_up_s * 1e9)
    rates = {stage: figures.latency_figures(samples, stage, from_ns) for stage in ("result", "stitched")}
    processes = [
        ProcessFigures(
            name=name,
            cpu_s=cpu_ms * slowdown * condition.frames / 1e3,
            rss_max_bytes=round(mib * random.uniform(1, 1.02)) << 20,
            rss_mean_bytes=mib << 20,
        )
        for name, (cpu_ms, mib) in _processes(queue, condition.replicas).items()
    ]
    killed = None if down_s is None else start_ns + round(down_s * 1e9)
    recovered = (None, None) if killed is None else figures.recovery_times(samples, killed, from_ns)
    result = CellResult(
        cell=cell,
        started_ns=start_ns,
        ended_ns=int(max(samples.published_ns.max(), samples.result_ns.max())),
        offered_hz=figures.offered_hz(samples, from_ns),
        processed_hz=figures.processed_hz(samples, from_ns),
        counts=_count(samples),
        kept_up=figures.has_kept_up(samples, from_ns),
        drain_s=figures.drain_s(samples),
        latency_ms={stage: latency for stage, latency in rates.items() if latency is not None},
        processes=processes,
        cpu_ms_per_frame=sum(process.cpu_s for process in processes) / condition.frames * 1e3 * random.normal(1, 0.01),
        rss_max_bytes=sum(process.rss_max_bytes for process in processes),
        detector_cpu_s=0.0005 * condition.frames,
        other_cpu=0.03,
        late_frames=0,
        recovery=None
        if killed is None
        else RecoveryFigures(
            process=next(iter(_workers(queue, condition.replicas))),
            killed_ns=killed,
            recovered_s=recovered[0],
            backlog_cleared_s=recovered[1],
        ),
    )
    return result, samples


def _process(
    condition: Condition,
    queue: Queue,
    random: np.random.Generator,
    *,
    slowdown: float,
    start_ns: int,
    down_s: float | None,
) -> FrameSamples:
    frames, capacity_hz = condition.frames, queue.capacity_hz(condition.replicas) / slowdown
    published_s = np.arange(frames) / condition.rate_hz
    service_s = random.gamma(20, 1 / 20, frames) / capacity_hz
    result_s = np.zeros(frames)
    is_received = np.ones(frames, np.bool_)
    free_s = 0.0
    for index, at_s in enumerate(published_s):
        is_down = down_s is not None and down_s <= at_s < down_s + DOWN_S
        if is_down:
            free_s = cast("float", down_s) + DOWN_S
        if max(0.0, free_s - at_s) * capacity_hz > queue.limit or (is_down and np.isfinite(queue.limit)):
            is_received[index] = False
            continue
        free_s = max(free_s, at_s) + service_s[index]
        result_s[index] = free_s + queue.latency_ms / 1e3 * random.gamma(12, 1 / 12)
    to_ns = np.vectorize(lambda second: start_ns + round(second * 1e9), otypes=[np.int64])
    results = np.where(is_received, to_ns(result_s), 0)
    stitched = np.where(is_received, to_ns(result_s + random.gamma(4, 1e-3, frames)), 0)
    return FrameSamples(
        unique_id=np.arange(1, frames + 1),
        published_ns=to_ns(published_s),
        received_ns=np.where(is_received, to_ns(published_s + 0.001), 0),
        result_ns=results,
        stitched_ns=stitched if condition.stitch else np.zeros(frames, np.int64),
        results=is_received.astype(np.int64),
        rejected=np.zeros(frames, np.bool_),
    )


def _count(samples: FrameSamples) -> FrameCounts:
    processed = int(np.count_nonzero(samples.results))
    return FrameCounts(
        published=len(samples), processed=processed, rejected=0, missed=len(samples) - processed, lost=0, duplicates=0
    )


def _workers(queue: Queue, replicas: int) -> Iterator[str]:
    (worker,) = (name for name in queue.processes if name in {"cat.0", "consumer.0"})
    return (worker.replace(".0", f".{index}") for index in range(replicas))


def _processes(queue: Queue, replicas: int) -> dict[str, tuple[float, int]]:
    workers = list(_workers(queue, replicas))
    cpu_ms, mib = queue.processes[workers[0]]
    return queue.processes | dict.fromkeys(workers, (cpu_ms / replicas, mib))


def _cells(plan: Plan, slowdown: float) -> Iterator[tuple[Condition, int]]:
    for part in plan.parts:
        for model in plan.models:
            for replicas in plan.replicas:
                yield from _part(plan, part, model, replicas, slowdown)


def _part(plan: Plan, part: Part, model: str, replicas: int, slowdown: float) -> Iterator[tuple[Condition, int]]:
    common = {"model": model, "replicas": replicas, "shape": (512, 512), "stitch": plan.stitch}
    base = Condition(
        part=part, engine="embedded", rate_hz=50, duration_s=plan.duration_s, warm_up_s=plan.warm_up_s, **common
    )
    for engine in plan.engines:
        maximum_hz = QUEUES[engine].capacity_hz(replicas) / slowdown
        for condition in _conditions(base.model_copy(update={"engine": engine}), plan, maximum_hz):
            single = part in {"maximum", "overload"}
            yield from ((condition, repetition) for repetition in range(1 if single else plan.repetitions))


def _conditions(base: Condition, plan: Plan, maximum_hz: float) -> list[Condition]:
    rates: dict[Part, list[float]] = {
        "load": plan.rates_hz,
        "maximum": [round(maximum_hz * share) for share in (0.5, 1.2, 0.8, 0.95)],
        "overload": [round(maximum_hz * 0.95 * 1.5)],
        "recovery": [100.0],
        "noise": [100.0],
        "setting": [100.0],
    }
    sides = ("A", "B") if base.part == "noise" else ("",)
    duration_s = plan.overload_s if base.part == "overload" else plan.duration_s
    changes = [{"rate_hz": rate, "side": side, "duration_s": duration_s} for rate in rates[base.part] for side in sides]
    return [base.model_copy(update=change) for change in changes]
