"""Supervision of a run: its failure ends the run instead of passing unnoticed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from charon.engines.embedded import EmbeddedEngine, Options
from charon.engines.manifest import read_pipeline

LIVE = Path(__file__).parents[4] / "workflows" / "aps" / "numaflow-aps-live.yaml"


@pytest.fixture
def engine(tmp_path):
    return EmbeddedEngine(read_pipeline(LIVE), LIVE, Options(output=tmp_path, storage="file"))


@pytest.mark.parametrize("task", ["supervise", "monitor_disk"])
def test_defect_in_supervision_fails_the_run(engine, monkeypatch, caplog, task):
    async def fail():
        await asyncio.sleep(0)
        raise TypeError("defect")

    async def run_normally():
        await asyncio.Event().wait()

    for name in ("supervise", "monitor_disk"):
        monkeypatch.setattr(engine._buffers, name, fail if name == task else run_normally)
    asyncio.run(asyncio.wait_for(engine._supervise(), 10))
    assert "TypeError('defect')" in engine.failure
    assert "the supervision of the run failed" in caplog.text
