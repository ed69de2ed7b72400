"""The report of two outputs of ``charonctl metrics``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from charon.comparison.metrics_files import MetricRow, MetricsComparison
from charon.comparison.report import write_metrics_report
from charon.comparison.statistics import Ratio
from charon.errors import UnavailableError

QUERY = 'rate(charon_frames_total{state="<b>"}[1m])'


def comparison(*rows, only_a=(), only_b=()):
    return MetricsComparison(Path("a.json"), Path("<b>.csv"), rows, only_a, only_b)


def row(labels, ratio, query=QUERY):
    return MetricRow(query, labels, 12.0, 10.0, ratio)


def written(found, tmp_path):
    write_metrics_report(found, tmp_path / "metrics.html")
    return (tmp_path / "metrics.html").read_text()


def test_each_series_has_means_and_ratio(tmp_path):
    html = written(comparison(row('{vertex="cat"}', Ratio(1.2, 1.1, 1.3, 8)), row("{}", None)), tmp_path)
    cells = re.findall(r'<td class="number">([^<]*)</td>', html)
    assert cells[:3] == ["12.00", "10.00", "1.20 (1.10 to 1.30)"]
    assert len(cells) == 6
    assert "rate(charon_frames_total{state=&quot;&lt;b&gt;&quot;}[1m])" in html
    assert "<b>" not in html.split("</style>", 1)[1].split("<script", 1)[0]


def test_series_of_one_file_are_listed(tmp_path):
    html = written(comparison(only_a=("up{}",), only_b=("down{}",)), tmp_path)
    assert "only in A: up{}" in html
    assert "only in B: down{}" in html
    assert "<div" not in html.split("Series in one file only", 1)[1]


def test_clear_differences_are_drawn_first(tmp_path):
    unclear = [row(f'{{pod="{index}"}}', Ratio(1.0, 0.9, 1.1, 8)) for index in range(100)]
    html = written(comparison(*unclear, row('{pod="different"}', Ratio(2.0, 1.9, 2.1, 8))), tmp_path)
    (data,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    assert "different" in json.dumps(json.loads(data)["ratios-1"])
    assert html.count("<tr>") == 102


def test_long_labels_have_a_row_each(tmp_path):
    long = "x" * 80
    rows = [row(f"{long}{index}", Ratio(1.0 + index, None, None, 1)) for index in range(2)]
    html = written(comparison(*rows), tmp_path)
    (data,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    labels = re.findall(r'"x+\\u2026"', data)
    assert len(labels) == 2
    assert len(labels[0]) == 40 - 1 + len('"\\u2026"')


def test_an_unwritable_file_is_an_error(tmp_path):
    with pytest.raises(UnavailableError, match="cannot write the report"):
        write_metrics_report(comparison(), tmp_path / "missing" / "metrics.html")
