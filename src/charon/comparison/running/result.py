"""Result of a cell, from what was recorded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from charon.comparison.accounting import count_frames, match_frames
from charon.comparison.figures import (
    drain_s,
    has_kept_up,
    latency_figures,
    offered_hz,
    processed_hz,
    recovery_times,
)
from charon.comparison.model import LATENCY_STAGES, CellResult, RecoveryFigures
from charon.comparison.running.series import process_figures
from charon.comparison.running.validity import Observation, count_late, invalid_reason

if TYPE_CHECKING:
    from charon.comparison.model import Cell, LatencyFigures
    from charon.comparison.running.interfaces import Resources
    from charon.comparison.running.measurement import Measurement
    from charon.comparison.samples import FrameSamples


def result_of(cell: Cell, attempt: int, started_ns: int, measurement: Measurement) -> tuple[CellResult, FrameSamples]:
    """Return the result of a cell and the samples of its frames.

    Parameters
    ----------
    cell, attempt
        The cell and the number of the attempt.
    started_ns
        Start of the engine, ns since 1970.
    measurement
        What was recorded.
    """
    condition, report, sampler = cell.condition, measurement.report, measurement.sampler
    matched = match_frames(measurement.published, measurement.records)
    samples = matched.samples
    from_ns = int(samples.published_ns[0]) + round(condition.warm_up_s * 1e9)
    to_ns = _last_ns(samples)
    processes = process_figures(sampler.processes, from_ns, to_ns)
    engine_s = sum(process.cpu_s for process in processes)
    measured = int(((samples.published_ns >= from_ns) & (samples.result_ns > 0)).sum())
    other_cpu = _other_cpu(sampler, engine_s, from_ns, to_ns)
    late = count_late(measurement.published, condition.rate_hz)
    observation = Observation(
        rate_hz=condition.rate_hz,
        achieved_hz=report.achieved_hz,
        planned=condition.frames,
        published=report.published,
        late=late,
        unknown=matched.unknown,
        other_cpu=other_cpu,
        cores=sampler.cores,
        clock_jump_ns=sampler.machine.clock_jump_ns,
    )
    result = CellResult(
        cell=cell,
        attempt=attempt,
        invalid=invalid_reason(observation),
        started_ns=started_ns,
        ended_ns=time.time_ns(),
        offered_hz=offered_hz(samples, from_ns),
        processed_hz=processed_hz(samples, from_ns),
        counts=count_frames(matched),
        kept_up=has_kept_up(samples, from_ns),
        drain_s=drain_s(samples),
        latency_ms=_latencies(samples, from_ns),
        processes=processes,
        cpu_ms_per_frame=engine_s * 1e3 / measured if measured else None,
        rss_max_bytes=sum(process.rss_max_bytes for process in processes),
        detector_cpu_s=round(sampler.detector.cpu_between(from_ns, to_ns), 4),
        other_cpu=round(other_cpu, 4),
        late_frames=late,
        recovery=_recovery(measurement, samples, from_ns),
        notes=measurement.notes,
    )
    return result, samples


def _last_ns(samples: FrameSamples) -> int:
    """Return the time of the last result, or of the last frame if there is none after it."""
    last = (samples.result_ns.max(), samples.stitched_ns.max(), samples.published_ns.max())
    return int(max(last))


def _latencies(samples: FrameSamples, from_ns: int) -> dict[str, LatencyFigures]:
    figures = {stage: latency_figures(samples, stage, from_ns) for stage in LATENCY_STAGES}
    return {stage: figure for stage, figure in figures.items() if figure is not None}


def _other_cpu(sampler: Resources, engine_s: float, from_ns: int, to_ns: int) -> float:
    """Return the CPU used by other work, in cores."""
    known_s = engine_s + sampler.detector.cpu_between(from_ns, to_ns) + sampler.own.cpu_between(from_ns, to_ns)
    other_s = sampler.machine.busy_between(from_ns, to_ns) - known_s
    return max(0.0, other_s) / ((to_ns - from_ns) / 1e9) if to_ns > from_ns else 0.0


def _recovery(measurement: Measurement, samples: FrameSamples, from_ns: int) -> RecoveryFigures | None:
    kill = measurement.kill
    if kill is None:
        return None
    recovered_s, backlog_cleared_s = recovery_times(samples, kill.time_ns, from_ns)
    return RecoveryFigures(
        process=kill.process,
        killed_ns=kill.time_ns,
        recovered_s=recovered_s,
        backlog_cleared_s=backlog_cleared_s,
    )
