"""`charonctl metrics` saves what Prometheus returns, sample by sample."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import subprocess
import sys
import time
from datetime import datetime

import pytest

from charon.adapters.prometheus.query import PrometheusClient, QueryRange

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
CHARONCTL = (sys.executable, "-m", "charon.cli.main")
QUERIES = [
    "up",
    "charon_frames_total",
    "sum by (vertex) (rate(charon_messages_total[2s]))",
    'histogram_quantile(0.99, sum by (le) (rate(charon_latency_seconds_bucket{since="detector"}[3s])))',
    "node_memory_MemTotal_bytes",
    "up / 0 - up",
    "vector(0) / 0",
    "-up / 0",
    'label_replace(label_replace(up, "query", "a,\\"b\\"", "", ""), "time", "ü", "", "")',
    "scalar(vector(2))",
]


def metrics(scraped, *arguments, **options):
    """Run charonctl metrics on the test's Prometheus."""
    command = [*CHARONCTL, "metrics", scraped.server.url, *map(str, arguments)]
    return subprocess.run(
        command, env=scraped.environment, capture_output=True, text=True, timeout=60, check=False, **options
    )


def times(scraped, step="1s"):
    return ["--start", scraped.started, "--end", scraped.ended, "--step", step]


def query_options(queries):
    return [argument for query in queries for argument in ("--query", query)]


def rows_of(scraped, queries):
    """Return the expected rows of a CSV, from Prometheus's own results: (query, labels, time, value)."""
    return [
        (query, series["metric"], at, value)
        for query in queries
        for series in scraped.server.query_range(query, scraped.started, scraped.ended, 1)["result"]
        for at, value in series["values"]
    ]


def test_json_is_the_result_of_prometheus(scraped, tmp_path):
    output = tmp_path / "new" / "folders" / "saved.json"
    done = metrics(scraped, *query_options(QUERIES), *times(scraped), "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    saved = json.loads(output.read_text())
    assert [entry["query"] for entry in saved["queries"]] == QUERIES
    for entry in saved["queries"]:
        expected = scraped.server.query_range(entry["query"], scraped.started, scraped.ended, 1)
        assert expected["result"], entry["query"]
        assert entry["status"] == "success"
        assert entry["data"] == expected
    metadata = saved["metadata"]
    assert metadata["step_s"] == 1.0
    assert datetime.fromisoformat(metadata["start"]).timestamp() == scraped.started
    assert datetime.fromisoformat(metadata["end"]).timestamp() == scraped.ended
    assert metadata["prometheus"]["url"] == scraped.server.url
    assert metadata["prometheus"]["version"] == scraped.server.version()
    assert metadata["counts"] == {
        "queries": len(QUERIES),
        "found": len(QUERIES),
        "empty": 0,
        "failed": 0,
        "series": sum(len(entry["data"]["result"]) for entry in saved["queries"]),
        "samples": len(rows_of(scraped, QUERIES)),
    }
    assert sorted(path.name for path in output.parent.iterdir()) == ["saved.json"]


def test_csv_has_a_row_for_each_sample(scraped, tmp_path):
    output = tmp_path / "saved.csv"
    assert metrics(scraped, *query_options(QUERIES), *times(scraped), "--output", output).returncode == 0
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = rows_of(scraped, QUERIES)
    assert len(rows) == len(expected)
    columns = {"query": "label_query", "time": "label_time"}
    for row, (query, labels, at, value) in zip(rows, expected, strict=True):
        expected_labels = {columns.get(name, name): text for name, text in labels.items() if name != "__name__"}
        assert row.pop("query") == query
        assert row.pop("metric") == labels.get("__name__", "")
        assert row.pop("value") == value
        moment = row.pop("time")
        assert moment.endswith("Z")
        assert datetime.fromisoformat(moment).timestamp() == at
        assert {name: text for name, text in row.items() if text} == expected_labels
    assert {"NaN", "+Inf", "-Inf"} <= {value for *_, value in expected}


def test_parquet_has_the_rows_of_the_csv(scraped, tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    output = tmp_path / "saved.parquet"
    assert metrics(scraped, *query_options(QUERIES), *times(scraped), "--output", output).returncode == 0
    table = pq.read_table(output)
    assert json.loads(table.schema.metadata[b"charon"])["counts"]["queries"] == len(QUERIES)
    expected = rows_of(scraped, QUERIES)
    rows = table.to_pylist()
    assert len(rows) == len(expected)
    columns = {"query": "label_query", "time": "label_time"}
    for row, (query, labels, at, value) in zip(rows, expected, strict=True):
        assert (row.pop("query"), row.pop("metric")) == (query, labels.get("__name__", ""))
        assert row.pop("time").timestamp() == at
        read = row.pop("value")
        assert read == float(value) or (math.isnan(read) and value == "NaN")
        expected_labels = {columns.get(name, name): text for name, text in labels.items() if name != "__name__"}
        assert {name: text for name, text in row.items() if text} == expected_labels


def test_default_output_is_stdout(scraped):
    done = metrics(scraped, "--query", "up", *times(scraped))
    assert json.loads(done.stdout)["queries"][0]["data"] == scraped.server.query_range(
        "up", scraped.started, scraped.ended, 1
    )
    rows = metrics(scraped, "--query", "up", *times(scraped), "--format", "csv").stdout.splitlines()
    assert rows[0] == "query,metric,instance,job,time,value"
    assert len(rows) == 1 + len(rows_of(scraped, ["up"]))
    assert metrics(scraped, "--query", "up", "--format", "parquet").returncode == 2


@pytest.mark.parametrize(
    "query",
    [
        "up",
        "charon_frames_total",
        "process_cpu_seconds_total - process_cpu_seconds_total @ start()",
        'up + on() group_left() count({job="prometheus"} @ end())',
        "topk(2, charon_messages_total)",
        "rate(prometheus_http_requests_total[2s])",
        "time()",
    ],
)
@pytest.mark.parametrize("max_points", [1, 5])
def test_split_range_gives_the_same_result(scraped, monkeypatch, query, max_points):
    full_range = QueryRange(scraped.started * 1000, scraped.ended * 1000 - 123, 300)
    split = QueryRange.split

    async def evaluate():
        async with PrometheusClient(scraped.server.url) as client:
            return await client.query_range(query, full_range)

    monkeypatch.setattr(QueryRange, "split", lambda self: split(self, max_points))
    assert len(full_range.split()) > 2
    result = asyncio.run(evaluate())
    expected = scraped.server.query_range(
        query, full_range.start_ms / 1000, full_range.end_ms / 1000, full_range.step_ms / 1000
    )["result"]
    assert expected
    assert [json.loads(series.to_json()) for series in result.series] == expected
    assert sum(series.sample_count for series in result.series) == sum(len(series["values"]) for series in expected)


def test_range_beyond_point_limit_is_complete(scraped, tmp_path):
    output = tmp_path / "long.json"
    options = ["--start", scraped.ended - 25, "--end", scraped.ended, "--step", "1ms"]
    done = metrics(scraped, "--query", "time()", *options, "--output", output)
    assert done.returncode == 0, done.stderr
    (series,) = json.loads(output.read_text())["queries"][0]["data"]["result"]
    assert [at for at, _ in series["values"]] == [round(scraped.ended - 25 + k / 1000, 3) for k in range(25_001)]
    assert all(float(value) == pytest.approx(at) for at, value in series["values"])


def test_empty_and_failed_queries_are_listed(scraped, tmp_path):
    queries = tmp_path / "queries.txt"
    queries.write_text("# some\nup\nno_such_metric{a='#'} # nothing\nrate(up)\nup{\n\nup # again\n")
    output = tmp_path / "some.json"
    done = metrics(scraped, "--queries-file", queries, *times(scraped), "--output", output)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "empty: no_such_metric{a='#'}" in lines
    failed = next(line for line in lines if line.startswith("failed: rate(up): "))
    assert "expected type range vector" in failed
    assert any(line.startswith("failed: up{: ") for line in lines)
    saved = json.loads(output.read_text())
    assert [entry["status"] for entry in saved["queries"]] == ["success", "success", "error", "error"]
    assert saved["queries"][0]["data"] == scraped.server.query_range("up", scraped.started, scraped.ended, 1)
    assert saved["metadata"]["empty"] == ["no_such_metric{a='#'}"]
    assert saved["metadata"]["failed"][0]["query"] == "rate(up)"
    assert saved["metadata"]["failed"][0]["error"] in failed
    assert saved["metadata"]["counts"]["failed"] == 2


def test_nothing_is_saved_if_every_query_fails(scraped, tmp_path):
    output = tmp_path / "none" / "saved.json"
    done = metrics(scraped, "--query", "up{", "--query", "rate(up)", "--output", output)
    assert done.returncode == 1
    assert "failed: up{: bad_data" in done.stderr
    assert list(output.parent.iterdir()) == []


def test_run_sets_times_and_variables(scraped, tmp_path):
    output = tmp_path / "run.json"
    query = 'max by (state) (charon_run_frames{pipeline=~"$pipeline",namespace=~"$namespace"})'
    done = metrics(scraped, "--run", "ptychography", "--query", query, "--output", output)
    assert done.returncode == 0, done.stderr
    saved = json.loads(output.read_text())
    assert saved["metadata"]["run"]["name"] == "ptychography"
    assert saved["metadata"]["run"]["engine"] == "embedded"
    start, end = (datetime.fromisoformat(saved["metadata"][edge]).timestamp() for edge in ("start", "end"))
    assert scraped.started - 30 < start < scraped.ended
    assert start < end <= scraped.ended + 5
    assert 'pipeline=~"ptychography"' in saved["queries"][0]["query"]
    last = {s["metric"]["state"]: s["values"][-1][1] for s in saved["queries"][0]["data"]["result"]}
    assert last["reconstructed"] == last["accepted"] == "240"
    unknown = metrics(scraped, "--run", "unknown", "--query", "up")
    assert unknown.returncode == 2
    assert "ptychography" in unknown.stderr


def test_relative_times_set_range_and_step(scraped):
    for options, duration_s, step_s in (
        ([], 900, 5),
        (["--start", "-1h"], 3600, 5),
        (["--start", "-1d12h", "--end", "-12h"], 86_400, 120),
        (["--end", str(scraped.ended)], 900, 5),
        (["--start", "-30s", "--end", "now"], 30, 1),
    ):
        before = int(time.time())
        done = metrics(scraped, "--query", "time()", *options)
        metadata = json.loads(done.stdout)["metadata"]
        start, end = (datetime.fromisoformat(metadata[edge]).timestamp() for edge in ("start", "end"))
        assert (end - start, metadata["step_s"]) == (duration_s, step_s)
        if "--end" not in options:
            assert before <= end <= time.time()


def test_metrics_are_listed(scraped):
    options = ["--start", scraped.started, "--end", scraped.ended]
    done = metrics(scraped, "--list-metrics", *options)
    assert done.returncode == 0
    names = done.stdout.splitlines()
    assert names == sorted(set(names))
    assert {"up", "node_cpu_seconds_total", "charon_latency_seconds_bucket", "prometheus_build_info"} <= set(names)
    described = json.loads(metrics(scraped, "--list-metrics", "--format", "json", *options).stdout)
    entry = next(entry for entry in described if entry["name"] == "node_cpu_seconds_total")
    assert entry["type"] == "counter"
    assert entry["help"]


def test_exposed_metrics_match_the_account(scraped, promtool):
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=scraped.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    last = {}
    for query in ("charon_run_frames", 'charon_latency_seconds_count{since="detector"}', "charon_frames_total"):
        for series in scraped.server.query_range(query, scraped.started, scraped.ended, 1)["result"]:
            labels = series["metric"]
            last[labels["__name__"], labels.get("vertex", ""), labels.get("state", "")] = int(series["values"][-1][1])
    summary = scraped.summary
    for state in ("published", "missed", "accepted", "reconstructed", "lost", "in_flight", "duplicates"):
        assert last["charon_run_frames", "", state] == summary[state]
    assert last["charon_frames_total", "in", "accepted"] == summary["accepted"] == 240
    assert last["charon_frames_total", "image", "reconstructed"] == 240
    assert last["charon_latency_seconds_count", "image", ""] == summary["latency_ms"]["frames"]
    quantile = "histogram_quantile({}, sum by (le) (charon_latency_seconds_bucket{{since='detector'}}))"
    for q, name in ((0.5, "p50"), (0.99, "p99")):
        series = scraped.server.query_range(quantile.format(q), scraped.started, scraped.ended, 1)["result"][0]
        # Prometheus interpolates within a bucket, whose upper bound is at most 5/3 of its lower bound.
        assert float(series["values"][-1][1]) == pytest.approx(summary["latency_ms"][name] / 1e3, rel=0.7)
