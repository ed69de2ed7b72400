"""Verdicts on results, for each reason and on each side of its limit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from charon.comparison.running.validity import Observation, count_late, invalid_reason
from charon.ledger.frame_log import RECORD

GOOD = Observation(
    rate_hz=100.0,
    achieved_hz=99.9,
    planned=1000,
    published=1000,
    late=3,
    unknown=0,
    other_cpu=0.05,
    cores=2,
    clock_jump_ns=1000,
)


@pytest.mark.parametrize(
    ("rate_hz", "delays_ms", "late"),
    [
        (100.0, [0, 0, 0, 0], 0),
        (100.0, [0, 9, 11, 30], 2),
        (100.0, [50, 50, 0, 50], 3),
        (1000.0, [0, 2, 4, 6], 1),
        (100.0, [], 0),
    ],
)
def test_frames_are_late_after_a_period_and_5_ms(rate_hz, delays_ms, late):
    records = np.zeros(len(delays_ms), RECORD)
    records["unique_id"] = np.arange(1, len(delays_ms) + 1)
    records["time_ns"] = 1_700_000_000 * 10**9 + np.arange(len(delays_ms)) * round(1e9 / rate_hz)
    records["time_ns"] += np.array(delays_ms, np.int64) * 1_000_000
    assert count_late(records, rate_hz) == late


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, None),
        ({"achieved_hz": 98.1}, None),
        ({"achieved_hz": 97.9}, "the detector published 97.9 frames/s instead of 100"),
        ({"achieved_hz": 4321.0, "rate_hz": 1e5, "published": 200}, "published 4321.0 frames/s instead of 100000"),
        ({"achieved_hz": None, "published": 1}, "the detector published 0.0 frames/s instead of 100"),
        ({"achieved_hz": None, "planned": 1, "published": 1}, None),
        ({"published": 999}, "the detector published 999 of 1000 frames"),
        ({"late": 20}, None),
        ({"late": 21}, "the detector published 21 of 1000 frames late"),
        ({"planned": 50, "published": 50, "late": 5}, None),
        ({"unknown": 1}, "the engine has 1 records of frames that the detector never published"),
        ({"other_cpu": 0.19}, None),
        ({"other_cpu": 0.21}, "other work used 0.21 of 2 cores"),
        ({"other_cpu": 0.21, "cores": 8}, None),
        # Other work is also the cause of a late detector.
        ({"other_cpu": 0.21, "late": 500, "achieved_hz": 50.0}, "other work used 0.21 of 2 cores"),
        ({"clock_jump_ns": 3_000_000}, "the system clock jumped by 3.0 ms"),
    ],
)
def test_reason_names_the_first_violation(change, expected):
    reason = invalid_reason(replace(GOOD, **change))
    if expected is None:
        assert reason is None
    else:
        assert reason is not None
        assert expected in reason
        assert "\n" not in reason
