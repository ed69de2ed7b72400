"""The best setting of an engine: smallest loss, then keeping up, then lowest latency; ties choose the default."""

from __future__ import annotations

import pytest
from comparison_data import a_condition, a_result

from charon.comparison.model import EngineSetting, FrameCounts, LatencyFigures
from charon.comparison.selection import candidate_settings, choose_setting

DEFAULT = EngineSetting()
OTHER = EngineSetting(batch=1, threads=2)


def measured(setting, *latencies, lost=0, kept_up=True, **changes):
    """Return a result of a setting for each (p50, p99)."""
    condition = a_condition(part="setting", engine="baseline", setting=setting)
    counts = FrameCounts(published=100, processed=100 - lost, rejected=0, missed=0, lost=lost, duplicates=0)
    return [
        a_result(
            condition=condition,
            repetition=k,
            counts=counts,
            kept_up=kept_up,
            latency_ms={"result": LatencyFigures(count=100, p50=p50, p90=p50, p99=p99, max=p99)},
            **changes,
        )
        for k, (p50, p99) in enumerate(latencies)
    ]


def choose(*results):
    return choose_setting("baseline", "ptychonn2-sim", [result for group in results for result in group])


@pytest.mark.parametrize("engine", ["embedded", "baseline", "numaflow", "baseline-pods"])
@pytest.mark.parametrize("cores", [1, 2, 8, 64])
def test_candidates_are_distinct_default_first(engine, cores):
    settings = candidate_settings(engine, cores)
    assert settings[0] == DEFAULT
    assert len(set(settings)) == len(settings)
    assert all(setting.threads <= cores for setting in settings)
    # 0 threads are half of the cores.
    assert max(1, cores // 2) not in {setting.threads for setting in settings}
    assert (len({setting.queue_size for setting in settings}) > 1) == engine.startswith("baseline")


def test_setting_without_loss_is_chosen():
    chosen = choose(measured(DEFAULT, (1, 2), lost=1), measured(OTHER, (50, 60)))
    assert chosen.setting == OTHER
    assert "1 of 100 frames without a result" in chosen.reason


def test_setting_that_kept_up_is_chosen():
    assert choose(measured(DEFAULT, (1, 2), kept_up=False), measured(OTHER, (50, 60))).setting == OTHER


def test_lower_latency_is_chosen():
    chosen = choose(measured(DEFAULT, (6, 10), (6.1, 10)), measured(OTHER, (4, 7), (4.1, 7)))
    assert chosen.setting == OTHER
    assert chosen.reason.startswith("batch 1, threads 2: p50/p99 4.05/7 ms, 0 of 200 frames without a result")
    assert "6.05/10 ms" in chosen.reason


def test_latency_within_noise_chooses_the_default():
    chosen = choose(measured(OTHER, (4, 7), (5, 9)), measured(DEFAULT, (4.5, 7), (5.2, 9)))
    assert chosen.setting == DEFAULT
    assert "noise" in chosen.reason


def test_unusable_cells_are_ignored():
    invalid = measured(OTHER, (1, 1), invalid="the machine was busy")
    failed = measured(OTHER, (1, 1), failure="PvaPy is missing")
    assert choose(invalid, failed, measured(DEFAULT, (6, 10))).setting == DEFAULT
    chosen = choose(invalid, failed)
    assert (chosen.setting, chosen.reason) == (DEFAULT, "default; no setting was measured")


def test_cells_of_other_engines_are_ignored():
    results = measured(OTHER, (1, 1))
    assert choose_setting("embedded", "ptychonn2-sim", results).setting == DEFAULT
    assert choose_setting("baseline", "other", results).setting == DEFAULT
    load = [a_result(condition=a_condition(engine="baseline", setting=OTHER), counts=results[0].counts, kept_up=True)]
    assert choose(load).setting == DEFAULT


def test_setting_without_any_result_is_last():
    none = [result.model_copy(update={"latency_ms": {}}) for result in measured(DEFAULT, (1, 1), lost=100)]
    assert choose(none, measured(OTHER, (9, 9), lost=99)).setting == OTHER
    assert "no result" in choose(none).reason
