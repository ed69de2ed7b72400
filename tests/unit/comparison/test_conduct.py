"""A comparison of synthetic engines: which cells run, in which order, and the effect of an interrupt."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from comparison_data import a_comparison, a_plan
from hypothesis import given, settings
from hypothesis import strategies as st
from queueing_model import QueueingModel, SyntheticRunner

from charon.comparison.conduct import Conductor
from charon.comparison.model import PARTS
from charon.comparison.results import ResultsFolder
from charon.comparison.schedule import Schedule
from charon.errors import UnavailableError

MODELS = {"embedded": QueueingModel(0.008), "baseline": QueueingModel(0.004, queue=20)}
SHAPES = {"ptychonn2-sim": (512, 512), "ptychonn2-siemens": (128, 128)}
# All parts, short enough for many comparisons.
BRIEF = a_plan(parts=list(PARTS), duration_s=0.6, warm_up_s=0.2, overload_s=0.6, rates_hz=[60.0])
ALL_PARTS = a_plan(parts=list(PARTS), duration_s=1.0, warm_up_s=0.2, overload_s=1.5, rates_hz=[40.0, 80.0])


def synthetic(**options):
    """Return a synthetic machine whose results folder is written fast."""
    return SyntheticRunner(MODELS, keep_frames=False, **options)


class Silent:
    """Observer without effect."""

    def started(self, cell, attempt):
        """Do nothing."""

    def finished(self, result):
        """Do nothing."""

    def decided(self, result):
        """Do nothing."""


def conduct(folder, run_cell, *, notes=None):
    """Run a comparison as the command does."""
    comparison = folder.comparison

    def record(chosen):
        now = folder.comparison
        folder.update(now.model_copy(update={"settings": [*now.settings, chosen]}))

    schedule = Schedule(
        comparison.plan,
        SHAPES,
        cores=2,
        settings=comparison.settings,
        on_setting=record,
        on_note=(notes if notes is not None else []).append,
    )
    Conductor(folder, run_cell, Silent()).run(schedule.cells())
    return folder.results()


def run_plan(plan, runner, path, *, notes=None):
    """Run a plan in a new results folder, and return the folder."""
    folder = ResultsFolder.create(path, a_comparison(plan))
    conduct(folder, runner, notes=notes)
    return folder


def keys_of(results):
    """Return condition, repetition and seed of each usable cell, in order."""
    return [(r.cell.condition, r.cell.repetition, r.cell.seed) for r in results if r.is_usable]


def sequence(results, *fields):
    return [tuple(getattr(r.cell.condition, f, None) or getattr(r.cell, f, 0) for f in fields) for r in results]


def test_engines_alternate_within_repetitions(tmp_path):
    plan = a_plan(rates_hz=[40.0, 80.0], repetitions=3, duration_s=1.0)
    results = run_plan(plan, SyntheticRunner(MODELS), tmp_path).results()
    one_rate = [(engine, repetition) for repetition in range(3) for engine in ("embedded", "baseline")]
    one_rate[2:4] = one_rate[3:1:-1]
    assert [(r.cell.condition.rate_hz, r.cell.condition.engine, r.cell.repetition) for r in results] == [
        (rate, engine, repetition) for rate in (40.0, 80.0) for engine, repetition in one_rate
    ]
    assert [r.cell.number for r in results] == list(range(1, 13))


def test_engines_share_the_seed_of_a_repetition(tmp_path):
    results = run_plan(a_plan(seed=7, duration_s=1.0), SyntheticRunner(MODELS), tmp_path).results()
    assert {(r.cell.repetition, r.cell.seed) for r in results} == {(0, 7), (1, 8)}


def test_grid_is_complete(tmp_path):
    plan = a_plan(
        models=list(SHAPES), replicas=[1, 2], rates_hz=[20.0, 40.0, 30.0], repetitions=2, duration_s=0.5, warm_up_s=0
    )
    results = run_plan(plan, SyntheticRunner(MODELS), tmp_path).results()
    cells = Counter(
        (c.engine, c.model, c.shape, c.replicas, c.rate_hz, r.cell.repetition)
        for r in results
        for c in [r.cell.condition]
    )
    assert set(cells.values()) == {1}
    assert len(cells) == 2 * 2 * 2 * 3 * 2
    assert all(shape == SHAPES[model] for _, model, shape, *_ in cells)


def test_parts_follow_their_order(tmp_path):
    results = run_plan(ALL_PARTS, SyntheticRunner(MODELS), tmp_path).results()
    parts = [r.cell.condition.part for r in results]
    assert list(dict.fromkeys(parts)) == list(PARTS)
    assert parts == sorted(parts, key=PARTS.index)


def test_sides_of_noise_alternate(tmp_path):
    plan = a_plan(parts=["noise"], duration_s=0.5)
    results = run_plan(plan, SyntheticRunner(MODELS), tmp_path).results()
    sides = [(r.cell.condition.engine, r.cell.condition.side, r.cell.repetition) for r in results]
    assert sides == [
        (engine, side, repetition)
        for engine in ("embedded", "baseline")
        for side, repetition in (("A", 0), ("B", 0), ("B", 1), ("A", 1))
    ]


@settings(max_examples=15, deadline=None)
@given(st.floats(0.003, 0.05), st.floats(0.003, 0.05), st.integers(0, 50), st.integers(1, 2))
def test_search_finds_the_capacity(service_a_s, service_b_s, queue, replicas):
    models = {"embedded": QueueingModel(service_a_s), "baseline": QueueingModel(service_b_s, queue)}
    plan = a_plan(parts=["maximum"], replicas=[replicas], duration_s=4.0, warm_up_s=0.5)
    with TemporaryDirectory() as path:
        results = run_plan(plan, SyntheticRunner(models), Path(path) / "results").results()
    for engine, model in models.items():
        cells = [r for r in results if r.cell.condition.engine == engine]
        highest_hz = max(r.cell.condition.rate_hz for r in cells if r.kept_up)
        lowest_hz = min(r.cell.condition.rate_hz for r in cells if not r.kept_up)
        # A slow growth of the backlog is not recognised within 4 s.
        assert highest_hz * model.service_s / replicas == pytest.approx(1, abs=0.15)
        assert highest_hz < lowest_hz <= highest_hz * 1.1 * 1.001


def test_detector_limits_the_search(tmp_path):
    plan = a_plan(parts=["maximum"], duration_s=1.0, warm_up_s=0.2, max_attempts=1, rates_hz=[300.0])
    models = {"embedded": QueueingModel(0.001), "baseline": QueueingModel(0.001)}
    results = run_plan(plan, SyntheticRunner(models, detector_hz=210.0), tmp_path).results()
    for engine in models:
        usable_hz = [r.cell.condition.rate_hz for r in results if r.cell.condition.engine == engine and r.is_usable]
        assert 190.0 < max(usable_hz) <= 210.0


def test_busy_machine_ends_the_search(tmp_path):
    plan = a_plan(parts=["maximum", "overload"], duration_s=0.5, warm_up_s=0.1, max_attempts=2)
    notes = []
    runner = SyntheticRunner(MODELS, invalid=frozenset(range(100)))
    results = run_plan(plan, runner, tmp_path, notes=notes).results()
    assert [(r.cell.condition.engine, r.attempt) for r in results] == [
        ("embedded", 1),
        ("embedded", 2),
        ("baseline", 1),
        ("baseline", 2),
    ]
    assert notes[:2] == [
        f"search for the maximum of {engine} ended at 100 frames/s: other work used 1.5 of 2 cores" for engine in MODELS
    ]


def test_overload_requires_a_complete_search(tmp_path):
    plan = a_plan(parts=["maximum", "overload"], duration_s=0.5, warm_up_s=0.1, max_attempts=1, rates_hz=[20.0])
    notes = []
    # The first rate is loss-free; then other work starts.
    results = run_plan(plan, SyntheticRunner(MODELS, invalid=frozenset(range(2, 100))), tmp_path, notes=notes).results()
    assert [r.cell.condition.part for r in results] == ["maximum"] * 4
    assert notes[2:] == [
        f"overload of {engine} with ptychonn2-sim skipped: its maximum is unknown" for engine in MODELS
    ]


def test_large_machine_with_few_usable_cores(tmp_path):
    plan = a_plan(parts=["maximum"], duration_s=1.0, warm_up_s=0.2, max_attempts=1, rates_hz=[300.0])

    def run(cell, folder, *, attempt):
        # 0.5 cores of other work are less than 10 % of the 64 cores of the machine, of which 2 may be used.
        result, samples = detector(cell, folder, attempt=attempt)
        return result.model_copy(update={"other_cpu": 0.5}), samples

    detector = SyntheticRunner({"embedded": QueueingModel(0.001), "baseline": QueueingModel(0.001)}, detector_hz=210.0)
    notes = []
    results = run_plan(plan, run, tmp_path, notes=notes).results()
    assert notes == []
    assert max(r.cell.condition.rate_hz for r in results if r.is_usable) > 190.0


def test_overload_is_relative_to_own_maximum(tmp_path):
    plan = a_plan(parts=["maximum", "overload"], duration_s=3.0, warm_up_s=0.2, overload_s=2.0)
    results = run_plan(plan, SyntheticRunner(MODELS), tmp_path).results()
    for engine in MODELS:
        own = [r for r in results if r.cell.condition.engine == engine]
        maximum_hz = max(r.cell.condition.rate_hz for r in own if r.cell.condition.part == "maximum" and r.kept_up)
        (overload,) = [r for r in own if r.cell.condition.part == "overload"]
        assert overload.cell.condition.rate_hz == pytest.approx(1.5 * maximum_hz, abs=0.05)
        assert overload.cell.condition.duration_s == 2.0
    counts = {r.cell.condition.engine: r.counts for r in results if r.counts and r.cell.condition.part == "overload"}
    lost = {engine: account.missed for engine, account in counts.items()}
    assert lost["embedded"] == 0
    assert lost["baseline"] > 0


def test_recovery_rate_suits_the_slowest_engine(tmp_path):
    plan = a_plan(parts=["maximum", "recovery"], rates_hz=[50.0, 200.0], duration_s=3.0, warm_up_s=0.2, overload_s=2.0)
    results = run_plan(plan, SyntheticRunner(MODELS), tmp_path).results()
    slow = [r for r in results if r.cell.condition.part == "maximum" and r.cell.condition.engine == "embedded"]
    maximum_hz = max(r.cell.condition.rate_hz for r in slow if r.kept_up)
    rates_hz = {r.cell.condition.rate_hz for r in results if r.cell.condition.part == "recovery"}
    assert rates_hz == {round(maximum_hz / 2, 1)}


def test_chosen_setting_is_used_afterwards(tmp_path):
    folder = run_plan(ALL_PARTS, SyntheticRunner(MODELS), tmp_path)
    chosen = {s.engine: s.setting for s in folder.comparison.settings}
    assert set(chosen) == {"embedded", "baseline"}
    for result in folder.results():
        if result.cell.condition.part != "setting":
            assert result.cell.condition.setting == chosen[result.cell.condition.engine]


@settings(max_examples=20, deadline=None)
@given(st.sets(st.integers(0, 40)))
def test_invalid_cells_are_repeated(invalid):
    plan = a_plan(parts=["load", "recovery"], duration_s=0.5, warm_up_s=0.1, overload_s=0.5, max_attempts=2)
    runner = synthetic(invalid=frozenset(invalid))
    with TemporaryDirectory() as path:
        results = run_plan(plan, runner, Path(path) / "results").results()
    assert [(r.cell, r.attempt) for r in results] == runner.calls
    assert {k for k, r in enumerate(results) if r.invalid} == {k for k in invalid if k < len(results)}
    for attempts in attempts_by_cell(results).values():
        assert [r.attempt for r in attempts] == list(range(1, len(attempts) + 1))
        assert all(r.invalid for r in attempts[:-1])
        assert attempts[-1].is_usable or len(attempts) == 2
    assert len(attempts_by_cell(results)) == 2 * 2 * 2 + 2 * 2


def attempts_by_cell(results):
    attempts: dict[int, list] = {}
    for result in results:
        attempts.setdefault(result.cell.number, []).append(result)
    return attempts


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(0, 30), max_size=6))
def test_resumed_comparison_has_the_same_cells(interrupts):
    with TemporaryDirectory() as path:
        complete = run_plan(BRIEF, synthetic(), Path(path) / "complete").results()
        folder = ResultsFolder.create(Path(path) / "resumed", a_comparison(BRIEF))
        calls = []
        for interrupt in [*interrupts, None]:
            runner = synthetic(interrupt=interrupt)
            with suppress(KeyboardInterrupt):
                conduct(ResultsFolder.open(folder.path), runner)
            calls += runner.calls
        resumed = ResultsFolder.open(folder.path).results()
    assert resumed == complete
    assert calls == [(r.cell, r.attempt) for r in complete]


def test_finished_comparison_measures_nothing_again(tmp_path):
    folder = run_plan(ALL_PARTS, SyntheticRunner(MODELS), tmp_path / "results")
    runner = SyntheticRunner(MODELS)
    conduct(ResultsFolder.open(folder.path), runner)
    assert runner.calls == []


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 1000))
def test_damaged_cell_is_measured_again(number):
    with TemporaryDirectory() as path:
        folder = run_plan(BRIEF, synthetic(), Path(path) / "results")
        results = folder.results()
        lost = results[number % len(results)]
        (folder.path / "cells" / f"{lost.cell.number:04d}-1.json").write_text("{")
        opened = ResultsFolder.open(folder.path)
        opened.set_damaged_aside()
        runner = synthetic()
        assert conduct(opened, runner) == results
    assert runner.calls == [(lost.cell, 1)]


def test_interrupt_during_attempts_continues_counting(tmp_path):
    plan = a_plan(duration_s=0.5, warm_up_s=0.1, max_attempts=3)
    folder = ResultsFolder.create(tmp_path / "results", a_comparison(plan))
    first = SyntheticRunner(MODELS, invalid=frozenset({0}), interrupt=1)
    with pytest.raises(KeyboardInterrupt):
        conduct(folder, first)
    second = SyntheticRunner(MODELS, invalid=frozenset({0}))
    results = conduct(ResultsFolder.open(folder.path), second)
    assert [(r.cell.number, r.attempt, r.is_usable) for r in results[:4]] == [
        (1, 1, False),
        (1, 2, False),
        (1, 3, True),
        (2, 1, True),
    ]


def test_failing_engine_affects_only_its_cells(tmp_path):
    notes = []
    runner = SyntheticRunner(MODELS, failing=frozenset({"baseline"}))
    folder = run_plan(ALL_PARTS, runner, tmp_path / "results", notes=notes)
    alone = run_plan(
        ALL_PARTS.model_copy(update={"engines": ["embedded"]}), SyntheticRunner(MODELS), tmp_path / "alone"
    )
    assert keys_of(folder.results()) == keys_of(alone.results())
    failures = [r for r in folder.results() if r.failure]
    assert {r.failure for r in failures} == {"the engine does not start"}
    assert Counter(r.cell.condition.part for r in failures)["maximum"] == 1
    assert notes[0] == "search for the maximum of baseline ended at 80 frames/s: the engine does not start"
    assert notes[1:] == ["overload of baseline with ptychonn2-sim skipped: its maximum is unknown"]


def test_unwritable_folder_ends_the_comparison(tmp_path):
    folder = ResultsFolder.create(tmp_path / "results", a_comparison(a_plan()))
    (folder.path / "logs").touch()
    runner = SyntheticRunner(MODELS)
    with pytest.raises(UnavailableError, match=r"logs/0001-1: .*; the comparison can be continued with --resume"):
        conduct(folder, runner)
    assert runner.calls == []


def test_logs_are_kept_of_failed_cells_only(tmp_path):
    runner = SyntheticRunner(MODELS, failing=frozenset({"baseline"}))
    folder = run_plan(a_plan(repetitions=1, rates_hz=[20.0], duration_s=0.5), runner, tmp_path / "results")
    assert [str(path.relative_to(folder.path)) for path in (folder.path / "logs").rglob("*.log")] == [
        "logs/0002-1/engine.log"
    ]
    healthy = run_plan(a_plan(repetitions=1, duration_s=0.5), SyntheticRunner(MODELS), tmp_path / "healthy")
    assert not (healthy.path / "logs").exists()
