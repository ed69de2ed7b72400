"""Progress of a comparison: lines without a terminal, a bar with the time left on one."""

from __future__ import annotations

import io
import sys

import pytest
from comparison_data import START_NS, a_condition, a_plan, a_result

from charon.cli.compare.progress import Progress, describe, duration, outcome
from charon.comparison.model import EngineSetting, FrameCounts, LatencyFigures
from charon.comparison.remaining import Estimate

SECOND = 10**9
LATENCY = LatencyFigures(count=250, p50=4.123, p90=5.0, p99=9.876, max=12.0)
COUNTS = FrameCounts(published=250, processed=248, rejected=0, missed=2, lost=0, duplicates=0)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (60, "1 min"), (3540, "59 min"), (3700, "1 h 2 min"), (86400, "24 h 0 min")],
)
def test_duration_is_short(seconds, text):
    assert duration(seconds) == text


def test_condition_is_described():
    assert describe(a_condition()) == "load embedded 50 frames/s (ptychonn2-sim)"
    assert describe(a_condition(part="noise", side="B", replicas=2, rate_hz=101.25)) == (
        "noise embedded (B) 101.2 frames/s 2 replicas (ptychonn2-sim)"
    )
    setting = EngineSetting(batch=1, threads=2)
    assert describe(a_condition(part="setting", setting=setting)) == (
        "setting embedded 50 frames/s batch 1, threads 2, queue 500 (ptychonn2-sim)"
    )


def test_outcome_is_one_line():
    result = a_result(counts=COUNTS, processed_hz=49.987, latency_ms={"result": LATENCY})
    assert outcome(result) == "248 of 250 frames, 49.99 frames/s, p50/p99 4.12/9.88 ms, did not keep up"
    assert outcome(a_result(failure="no memory")) == "failed: no memory"
    assert outcome(a_result(invalid="busy")) == "invalid: busy"


def run(progress):
    """Report two cells, the first of which is repeated; 6 of 8 remain, each of 5 s and 3 s of overhead."""
    times = {"ended_ns": START_NS + 8 * SECOND, "kept_up": True, "counts": COUNTS}
    invalid, first = a_result(1, invalid="busy", **times), a_result(1, attempt=2, **times)
    second = a_result(2, condition=a_condition(engine="baseline"), **times)
    with progress:
        for result in (invalid, first):
            progress.started(result.cell, result.attempt)
            progress.finished(result)
        progress.decided(first)
        progress.started(second.cell, 1)
        progress.finished(second)
        progress.decided(second)


def test_lines_are_printed_without_a_terminal(capsys):
    run(Progress(Estimate(a_plan(), cores=2), quiet=False))
    assert capsys.readouterr().err.splitlines() == [
        "load embedded 50 frames/s (ptychonn2-sim): invalid: busy",
        "[1/8, about 1 min left] load embedded 50 frames/s (ptychonn2-sim): 248 of 250 frames",
        "[2/8, about 48 s left] load baseline 50 frames/s (ptychonn2-sim): 248 of 250 frames",
    ]


def test_quiet_prints_nothing(capsys):
    run(Progress(Estimate(a_plan(), cores=2), quiet=True))
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    """Text that is a terminal."""

    def isatty(self):
        """Return True."""
        return True


def test_bar_shows_cells_and_time_left(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "150")
    run(Progress(Estimate(a_plan(), cores=2), quiet=False))
    shown = terminal.getvalue()
    assert "2/8" in shown
    assert "48 s left" in shown
    assert "[2/8, about 48 s left] load baseline 50 frames/s (ptychonn2-sim): 248 of 250 frames" in shown


def test_earlier_cells_are_counted_once(capsys):
    progress = Progress(Estimate(a_plan(), cores=2), quiet=False)
    with progress:
        for number in (1, 2, 3):
            progress.decided(a_result(number))
        progress.started(a_result(4).cell, 1)
    assert capsys.readouterr().err == "3 cells were measured before\n"
