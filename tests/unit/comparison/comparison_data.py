"""Plans, cells, results and samples with given values, for tests of a comparison."""

from __future__ import annotations

import numpy as np

from charon.comparison.model import Cell, CellResult, Comparison, Condition, Machine, Plan
from charon.comparison.samples import FrameSamples

SECOND = 10**9
START_NS = 1_700_000_000 * SECOND


def a_plan(**changes):
    values = {
        "engines": ["embedded", "baseline"],
        "rates_hz": [50.0, 100.0],
        "models": ["ptychonn2-sim"],
        "replicas": [1],
        "repetitions": 2,
        "duration_s": 4.0,
        "warm_up_s": 1.0,
        "overload_s": 6.0,
        "parts": ["load"],
    }
    return Plan.model_validate(values | changes)


def a_comparison(plan=None):
    machine = Machine(hostname="host", system="Linux 6.1", cpu="a processor", cores=2, memory_bytes=2**33)
    return Comparison(
        plan=plan or a_plan(),
        machine=machine,
        command="charonctl compare",
        versions={"charon": "0.1.0"},
        commit=None,
        started_ns=START_NS,
    )


def a_condition(**changes):
    values = {
        "part": "load",
        "engine": "embedded",
        "rate_hz": 50.0,
        "shape": (128, 128),
        "model": "ptychonn2-sim",
        "duration_s": 4.0,
        "warm_up_s": 1.0,
    }
    return Condition.model_validate(values | changes)


def a_result(number=1, *, attempt=1, condition=None, repetition=0, **changes):
    cell = Cell(number=number, condition=condition or a_condition(), repetition=repetition)
    times = {"started_ns": START_NS, "ended_ns": START_NS + 8 * SECOND}
    return CellResult.model_validate({"cell": cell, "attempt": attempt} | times | changes)


def some_samples(frames=5):
    """Return samples in which every frame has one result, 5 ms after its publication."""
    published_ns = START_NS + np.arange(frames, dtype=np.int64) * 20_000_000
    return FrameSamples(
        unique_id=np.arange(1, frames + 1, dtype=np.int64),
        published_ns=published_ns,
        received_ns=published_ns + 1_000_000,
        result_ns=published_ns + 5_000_000,
        stitched_ns=np.zeros(frames, dtype=np.int64),
        results=np.ones(frames, dtype=np.int64),
        rejected=np.zeros(frames, dtype=np.bool_),
    )
