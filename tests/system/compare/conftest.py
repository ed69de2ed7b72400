"""Fixture: cells with real engines and a real detector on loopback, which leave no process behind."""

from __future__ import annotations

import json

import psutil
import pytest

from charon.comparison.model import Cell, Condition, EngineSetting
from charon.comparison.running import run_cell


class Bench:
    """Runs cells in a folder of their own.

    Parameters
    ----------
    folder
        The folder.
    """

    def __init__(self, folder):
        self.folder = folder

    def cell(self, engine, **changes):
        """Return a short cell."""
        values = {
            "part": "load",
            "engine": engine,
            "rate_hz": 40.0,
            "shape": (512, 512),
            "model": "ptychonn2-sim",
            "setting": EngineSetting(batch=4, threads=1),
            "duration_s": 2.0,
            "warm_up_s": 0.0,
        }
        return Cell(number=1, condition=Condition(**{**values, **changes}))

    def run(self, engine, **changes):
        """Run a short cell and return its result and samples; it must not fail."""
        result, samples = run_cell(self.cell(engine, **changes), self.folder, attempt=1)
        assert result.failure is None, result.failure
        return result, samples

    def summary(self):
        """Return the engine's own summary."""
        return json.loads((self.folder / "out" / "summary.json").read_text())

    def report(self):
        """Return the detector's report."""
        return json.loads((self.folder / "detector.json").read_text())


@pytest.fixture
def bench(tmp_path):
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield Bench(tmp_path / "cell")
    left = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=5)
    assert not alive
