"""``charonctl compare`` with real engines: a short comparison, interrupted by Ctrl-C and continued."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time

import psutil
import pyarrow.parquet as pq
import pytest

from charon.comparison.results import ResultsFolder
from loopback import isolated_environment

CHARONCTL = (sys.executable, "-m", "charon.cli.main")
PLAN = ["--rates", "20", "--repetitions", "1", "--duration", "1", "--warm-up", "0.5", "--parts", "load"]
PLAN += ["--model", "ptychonn2-siemens"]

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(400)]


class Comparison:
    """``charonctl compare`` in a session of its own, like in a terminal.

    Parameters
    ----------
    folder
        Folder for logs.
    options
        Options of the command.
    """

    def __init__(self, folder, *options):
        self.log = folder / "log"
        environment = isolated_environment(XDG_STATE_HOME=str(folder / "state"))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*CHARONCTL, "compare", *map(str, options)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, condition, timeout_s=120):
        """Wait for a condition while the process runs."""
        end_s = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end_s, self.log.read_text()
            time.sleep(0.1)

    def stop(self):
        """End the process and everything that it started."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a comparison."""
    started = []

    def compare(*options):
        started.append(Comparison(tmp_path, *options))
        return started[-1]

    yield compare
    for comparison in started:
        comparison.stop()


def test_interrupted_comparison_is_completed(start, tmp_path):
    # Every program of both engines receives paths in this folder.
    folder = tmp_path / """it's "Öl" <i> & $x"""
    first = start(*PLAN, "--output", folder)
    first.wait(lambda: any((folder / "cells").glob("*.json")))
    # The second cell has started: its engine and its detector run.
    first.wait(lambda: len(psutil.Process(first.process.pid).children(recursive=True)) >= 2)
    children = psutil.Process(first.process.pid).children(recursive=True)
    os.killpg(first.process.pid, signal.SIGINT)
    assert first.process.wait(60) == 130, first.log.read_text()
    assert f"continue with: charonctl compare --output {shlex.quote(str(folder))} --resume" in first.log.read_text()
    psutil.wait_procs(children, timeout=10)
    assert not [child for child in children if child.is_running()]
    interrupted = ResultsFolder.open(folder)
    measured = interrupted.results()
    assert measured
    # On a busy machine most attempts are invalid; repeating them would only prolong the test.
    plan = interrupted.comparison.plan.model_copy(update={"max_attempts": 1})
    interrupted.update(interrupted.comparison.model_copy(update={"plan": plan}))

    second = start("--output", folder, "--resume")
    status = second.process.wait(300)
    results = ResultsFolder.open(folder)
    assert results.problems == []
    assert results.results()[: len(measured)] == measured
    assert status == (0 if any(r.is_usable for r in results.results()) else 1), second.log.read_text()
    check_results(results)
    report = (folder / "report.html").read_text()
    assert "</html>" in report
    assert "embedded / baseline" in second.log.read_text() or status == 1


def check_results(folder):
    """Check that both engines account for every frame, and that all files agree."""
    results = folder.results()
    assert {r.cell.condition.engine for r in results} == {"embedded", "baseline"}
    for result in results:
        assert result.failure is None
        counts, samples = result.counts, folder.samples(result)
        assert counts is not None
        assert samples is not None
        assert counts.unknown == 0
        assert counts.published == counts.processed + counts.rejected + counts.missed + counts.lost == len(samples)
        if result.invalid is None:
            assert counts.published == result.cell.condition.frames
            # On a busy machine, the baseline may miss frames; the pipeline must not.
            assert counts.processed == counts.published or result.cell.condition.engine == "baseline"
            assert result.latency_ms["result"].p50 > 0
            assert result.cpu_ms_per_frame > 0
        name = f"{result.cell.number:04d}-{result.attempt}"
        table = pq.read_table(folder.path / f"samples/{name}.parquet").to_pydict()
        assert table == json.loads((folder.path / f"samples/{name}.json").read_text())
