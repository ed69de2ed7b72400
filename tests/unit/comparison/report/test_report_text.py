"""Numbers, times and ratios as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.comparison.model import FrameCounts
from charon.comparison.report import text
from charon.comparison.report.names import ENGINES, process_kind, set_ups, tints
from charon.comparison.statistics import Ratio


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "0"), (4.1234, "4.12"), (41.26, "41.3"), (412.6, "413"), (12345.6, "12,346"), (0.01234, "0.0123")],
)
def test_numbers_have_three_significant_digits(value, expected):
    assert text.number(value) == expected


@given(st.floats())
def test_any_float_has_a_text(value):
    assert text.number(value)


@pytest.mark.parametrize(("value", "expected"), [(None, text.ABSENT), (7.94, "7.94 ms"), (12_345.0, "12.3 s")])
def test_long_latencies_are_in_seconds(value, expected):
    assert text.milliseconds(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(50.0, "50"), (361.0, "361"), (312.5, "312.5"), (12_000.0, "12,000")])
def test_rates_are_not_padded(value, expected):
    assert text.frame_rate(value) == f"{expected} frames/s"


def test_loss_is_stated_as_count_and_share():
    counts = FrameCounts(published=4878, processed=3682, rejected=0, missed=1196, lost=0, duplicates=0)
    assert text.loss(counts, "frames") == "1,196 of 4,878 frames (25 %)"


def test_no_loss_has_no_share():
    counts = FrameCounts(published=10, processed=10, rejected=0, missed=0, lost=0, duplicates=0)
    assert text.loss(counts) == "0 of 10"


def test_times_are_in_utc():
    assert text.utc(1_764_324_000_000_000_000) == "2025-11-28 10:00:00 UTC"


@pytest.mark.parametrize(
    ("ratio", "expected", "clear"),
    [
        (Ratio(1.739, 1.71, 1.78, 3), "1.74 (1.71 to 1.78)", True),
        (Ratio(1.01, 0.97, 1.05, 3), "1.01 (0.97 to 1.05)", False),
        (Ratio(1.7, None, None, 1), "1.70 (no interval)", False),
        (Ratio(2.11, 0.00216, 2054.9, 2), "2.11 (0.0022 to 2,055)", False),
        (None, text.ABSENT, False),
    ],
)
def test_ratios_have_their_interval(ratio, expected, clear):
    assert text.ratio(ratio) == expected
    assert text.is_clear(ratio) is clear


@pytest.mark.parametrize(
    ("parts", "expected"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists_are_sentences(parts, expected):
    assert text.listing(parts) == expected


@pytest.mark.parametrize(
    ("name", "kind"), [("cat.0", "cat"), ("cat.11", "cat"), ("nats-server", "nats-server"), ("a.b", "a.b")]
)
def test_replicas_of_a_process_have_one_name(name, kind):
    assert process_kind(name) == kind


def test_every_engine_has_its_own_color():
    assert len({name.color for name in ENGINES.values()}) == len(ENGINES) == 4


@given(st.lists(st.text(), max_size=12))
def test_tints_are_different_colors(labels):
    colors = tints("#0f7cc0", labels)
    assert set(colors) == set(labels)
    assert all(len(color) == 7 and int(color[1:], 16) >= 0 for color in colors.values())
    assert len(set(colors.values())) == len(set(labels))


def test_name_of_a_set_up_has_differences_only():
    class SetUp:
        def __init__(self, model, replicas):
            self.model, self.replicas = model, replicas

    assert not set_ups([SetUp("a", 1)]).name("a", 1)
    assert set_ups([SetUp("a", 1), SetUp("a", 2)]).name("a", 2) == "2 replicas"
    assert set_ups([SetUp("a", 1), SetUp("b", 2)]).name("b", 1) == "b, 1 replica"
