"""Reasons why a cell cannot run, before anything is started."""

from __future__ import annotations

import pytest

from charon.adapters.inference.bundle import load_bundle
from charon.comparison.model import Condition, EngineSetting
from charon.comparison.running import checks
from charon.comparison.running.checks import available_bytes, obstacle, required_bytes

MODEL = "ptychonn2-sim"
PLENTY = 1 << 50


def condition(engine="embedded", **changes):
    values = {
        "part": "load",
        "engine": engine,
        "rate_hz": 100.0,
        "shape": (512, 512),
        "model": MODEL,
        "duration_s": 5.0,
        "warm_up_s": 1.0,
    }
    return Condition(**{**values, **changes})


@pytest.mark.parametrize("engine", ["embedded", "baseline"])
def test_possible_cell_has_no_obstacle(engine):
    assert obstacle(condition(engine), available_bytes()) is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model": "nonesuch"}, "model bundle 'nonesuch' not found; use a folder or one of "),
        ({"shape": (256, 512)}, "model 'ptychonn2-sim' requires frames of 512x512 pixels, not 256x512"),
    ],
)
def test_obstacle_is_one_line(changes, expected):
    reason = obstacle(condition(**changes), PLENTY)
    assert reason is not None
    assert reason.startswith(expected)
    assert "\n" not in reason


def test_too_little_memory_states_both_amounts():
    reason = obstacle(condition(), 100 << 20)
    assert reason is not None
    assert "MiB of memory, and 100 MiB are available" in reason


def test_missing_pvapy_names_the_package(monkeypatch):
    monkeypatch.setattr(checks, "find_spec", lambda _name: None)
    assert obstacle(condition(), PLENTY) == "PvaPy is not installed; run: pip install pvapy"


@pytest.mark.parametrize("engine", ["embedded", "baseline"])
def test_more_work_requires_more_memory(engine):
    bundle = load_bundle(MODEL)
    one = required_bytes(condition(engine), bundle)
    assert required_bytes(condition(engine, replicas=2), bundle) > one
    assert required_bytes(condition(engine, rate_hz=400.0), bundle) >= one
    if engine == "baseline":
        assert required_bytes(condition(engine, setting=EngineSetting(queue_size=100)), bundle) < one
