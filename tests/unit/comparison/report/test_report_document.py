"""The report as a document: sections, reasons, files."""

from __future__ import annotations

import json
import re

import pytest

import synthetic_comparison
from charon.comparison.report import write_report
from charon.comparison.report.cells import cells
from charon.comparison.results import ResultsFolder
from charon.errors import UnavailableError

FIGURES = [
    "throughput",
    "scaling",
    "latency",
    "quantiles",
    "ratios",
    "loss",
    "overload",
    "recovery",
    "cpu",
    "memory",
    "noise",
]
TEXT = ["excluded", "cells", "machine", "repeat", "definitions"]


def small_plan(**changes):
    small = {"rates_hz": [50.0, 300.0], "replicas": [1], "repetitions": 2, "duration_s": 3.0, "overload_s": 4.0}
    return synthetic_comparison.plan(**small | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = synthetic_comparison.write_comparison(tmp_path_factory.mktemp("results") / "a", small_plan())
    synthetic_comparison.add_unusable(folder)
    return folder


@pytest.fixture(scope="module")
def html(folder, tmp_path_factory):
    return written(folder, tmp_path_factory.mktemp("report"))


def written(folder, tmp_path, **options):
    path = tmp_path / "report.html"
    write_report(folder, path, **options)
    return path.read_text()


def sections(html):
    return [name for name in re.findall(r'<section id="([a-z]+)"', html) if name != "guide"]


def figures(html):
    (data,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', html, re.DOTALL)
    return json.loads(data)


def test_a_report_has_all_sections(html):
    assert sections(html) == [*FIGURES, *TEXT]
    slots = re.findall(r'data-figure="([^"]*)"', html)
    assert slots == list(figures(html))
    assert {name.rpartition("-")[0] for name in slots} == set(FIGURES)


def test_invalid_and_failed_cells_have_their_reason(html):
    assert "Excluded from all figures (2):" in html
    assert "invalid: other work used 0.91 cores during the measurement" in html
    assert "failed: model &#x27;huge&#x27; needs 31 GiB of memory, and 22 GiB are available" in html


def test_all_cells_are_listed(folder, html):
    rows = re.search(r'<table class="dense">.*?<tbody>(.*?)</tbody>', html, re.DOTALL)
    assert rows is not None
    assert rows[1].count("<tr>") == len(folder.results())


def test_machine_versions_and_command_are_stated(html):
    for expected in ("AMD EPYC 7763", "0123456789abcdef0123456789abcdef01234567-dirty", "openvino 2025.4", "24 GiB"):
        assert expected in html
    assert "charonctl compare --output &#x27;out/&lt;b&gt;first&lt;/b&gt;&#x27; --repetitions 3" in html
    assert "2025-11-28 10:00:00 UTC" in html


def test_distributions_have_a_limited_size(html):
    assert len(json.dumps(figures(html)["latency-1"])) < 60_000


def test_damaged_files_are_listed(tmp_path):
    path = tmp_path / "a"
    synthetic_comparison.write_comparison(path, small_plan(parts=["load"]))
    cell, samples = path / "cells" / "0001-1.json", path / "samples" / "0008-1.json"
    cell.write_text("{")
    samples.write_text("[]")
    html = written(ResultsFolder.open(path), tmp_path)
    assert f"{cell}: damaged" in html
    assert f"{samples}: damaged" in html


def test_parts_that_were_not_measured_have_no_section(tmp_path):
    folder = synthetic_comparison.write_comparison(tmp_path / "a", small_plan(parts=["load"], engines=["embedded"]))
    html = written(folder, tmp_path)
    assert "the part overload is not in the plan (Pipeline)" in html
    assert sections(html) == ["throughput", "latency", "quantiles", "loss", "cpu", "memory", *TEXT]


def test_a_folder_without_results_has_a_report(tmp_path):
    comparison = synthetic_comparison.comparison(small_plan()).model_copy(update={"ended_ns": None})
    html = written(ResultsFolder.create(tmp_path / "a", comparison), tmp_path)
    assert "The comparison is not complete" in html
    assert "The engines cannot be compared" in html
    assert figures(html) == {}


def test_two_folders_have_ratios(folder, tmp_path):
    other = synthetic_comparison.write_comparison(tmp_path / "b", small_plan(), slowdown=1.3, seed=3)
    html = written(folder, tmp_path, other=other)
    assert sections(html)[:2] == ["both", "sides"]
    assert str(tmp_path / "b") in html
    assert "Conditions only in A: 0, only in B: 0." in html
    assert {"sides-1", "sides-2"} <= set(figures(html))


def test_folders_without_a_common_condition_are_stated(folder, tmp_path):
    plan = small_plan(models=["other"], parts=["load"])
    html = written(folder, tmp_path, other=synthetic_comparison.write_comparison(tmp_path / "b", plan))
    assert "The comparisons have no condition with valid results in common" in html


def test_a_report_that_cannot_be_written_is_an_error(folder, tmp_path):
    with pytest.raises(UnavailableError, match=r"report\.html: cannot write the report: No such file"):
        write_report(folder, tmp_path / "missing" / "report.html")


def test_equal_notes_are_shown_once(folder):
    results = folder.results()[:14]
    notes = [["every", *(["some"] if number < 12 else []), *(["<one>"] if number == 2 else [])] for number in range(14)]
    html = cells([result.model_copy(update={"notes": found}) for result, found in zip(results, notes, strict=True)])
    listed = re.findall(r"<li>(.*?)</li>", html)
    assert listed == [
        "every (every result)",
        "some (cells 1; 2; 3; 4; 5; 6; 7; 8; 9; 10 and 2 more)",
        "&lt;one&gt; (cell 3)",
    ]


def test_a_failed_report_leaves_no_file(folder, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(UnavailableError, match=r"Is a directory; choose another file with --from and --output"):
        write_report(folder, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_report_replaces_the_previous_one(folder, tmp_path):
    (tmp_path / "report.html").write_text("old")
    assert written(folder, tmp_path).startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
