"""The plans of the command."""

from __future__ import annotations

import pytest

from charon.adapters.inference.bundle import load_bundle
from charon.comparison.presets import PLANS
from charon.comparison.remaining import Estimate


def test_plans_grow():
    durations_s = [Estimate(PLANS[size], cores=2).left_s for size in ("quick", "default", "full")]
    assert durations_s == sorted(durations_s)
    assert durations_s[0] < 5 * 60


@pytest.mark.parametrize("size", PLANS)
def test_plan_can_run(size):
    plan = PLANS[size]
    for model in plan.models:
        load_bundle(model)
    assert "maximum" in plan.parts or "overload" not in plan.parts
    assert plan.repetitions >= 2  # a ratio with an interval
