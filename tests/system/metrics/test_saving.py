"""What `charonctl metrics` saves is what the Prometheus answers, sample by sample."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import shutil
import subprocess
import sys
import time
from datetime import datetime

import pytest

from charon.adapters.prometheus.query.client import Prometheus
from charon.adapters.prometheus.query.times import Span

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
    """Run charonctl metrics on the scraped Prometheus."""
    command = [*CHARONCTL, "metrics", scraped.server.url, *map(str, arguments)]
    return subprocess.run(
        command, env=scraped.environment, capture_output=True, text=True, timeout=60, check=False, **options
    )


def span(scraped, step="1s"):
    return ["--start", scraped.start, "--end", scraped.stop, "--step", step]


def asked(queries):
    return [word for query in queries for word in ("--query", query)]


def rows_of(scraped, queries):
    """Return the rows that a CSV should have, from Prometheus's own answers: (query, labels, time, value)."""
    return [
        (query, series["metric"], at, value)
        for query in queries
        for series in scraped.server.ask(query, scraped.start, scraped.stop, 1)["result"]
        for at, value in series["values"]
    ]


def test_json_is_the_answer_of_prometheus(scraped, tmp_path):
    output = tmp_path / "new" / "folders" / "saved.json"
    done = metrics(scraped, *asked(QUERIES), *span(scraped), "--output", output)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    saved = json.loads(output.read_text())
    assert [entry["query"] for entry in saved["queries"]] == QUERIES
    for entry in saved["queries"]:
        own = scraped.server.ask(entry["query"], scraped.start, scraped.stop, 1)
        assert own["result"], entry["query"]
        assert entry["status"] == "success"
        assert entry["data"] == own
    metadata = saved["metadata"]
    assert metadata["step_s"] == 1.0
    assert datetime.fromisoformat(metadata["start"]).timestamp() == scraped.start
    assert datetime.fromisoformat(metadata["end"]).timestamp() == scraped.stop
    assert metadata["prometheus"]["url"] == scraped.server.url
    assert metadata["prometheus"]["version"] == scraped.server.now_version()
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
    assert metrics(scraped, *asked(QUERIES), *span(scraped), "--output", output).returncode == 0
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected = rows_of(scraped, QUERIES)
    assert len(rows) == len(expected)
    own = {"query": "label_query", "time": "label_time"}
    for row, (query, labels, at, value) in zip(rows, expected, strict=True):
        wanted = {own.get(name, name): text for name, text in labels.items() if name != "__name__"}
        assert row.pop("query") == query
        assert row.pop("metric") == labels.get("__name__", "")
        assert row.pop("value") == value
        moment = row.pop("time")
        assert moment.endswith("Z")
        assert datetime.fromisoformat(moment).timestamp() == at
        assert {name: text for name, text in row.items() if text} == wanted
    assert {"NaN", "+Inf", "-Inf"} <= {value for *_, value in expected}


def test_parquet_has_the_rows_of_the_csv(scraped, tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    output = tmp_path / "saved.parquet"
    assert metrics(scraped, *asked(QUERIES), *span(scraped), "--output", output).returncode == 0
    table = pq.read_table(output)
    assert json.loads(table.schema.metadata[b"charon"])["counts"]["queries"] == len(QUERIES)
    expected = rows_of(scraped, QUERIES)
    rows = table.to_pylist()
    assert len(rows) == len(expected)
    own = {"query": "label_query", "time": "label_time"}
    for row, (query, labels, at, value) in zip(rows, expected, strict=True):
        assert (row.pop("query"), row.pop("metric")) == (query, labels.get("__name__", ""))
        assert row.pop("time").timestamp() == at
        read = row.pop("value")
        assert read == float(value) or (math.isnan(read) and value == "NaN")
        wanted = {own.get(name, name): text for name, text in labels.items() if name != "__name__"}
        assert {name: text for name, text in row.items() if text} == wanted


def test_without_an_output_the_answer_goes_to_stdout(scraped):
    done = metrics(scraped, "--query", "up", *span(scraped))
    assert json.loads(done.stdout)["queries"][0]["data"] == scraped.server.ask("up", scraped.start, scraped.stop, 1)
    rows = metrics(scraped, "--query", "up", *span(scraped), "--format", "csv").stdout.splitlines()
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
@pytest.mark.parametrize("most", [1, 5])
def test_a_split_span_gives_the_answer_to_the_whole(scraped, monkeypatch, query, most):
    span = Span(scraped.stop * 1000 - 9000, scraped.stop * 1000 + 123, 700)
    whole_split = Span.split

    async def ask():
        async with Prometheus(scraped.server.url) as prometheus:
            return await prometheus.range(query, span)

    monkeypatch.setattr(Span, "split", lambda self: whole_split(self, most))
    assert len(span.split()) > 2
    answer = asyncio.run(ask())
    own = scraped.server.ask(query, span.start_ms / 1000, span.end_ms / 1000, span.step_ms / 1000)["result"]
    assert own
    assert [json.loads(series.to_json()) for series in answer.series] == own
    assert sum(series.samples for series in answer.series) == sum(len(series["values"]) for series in own)


def test_more_points_than_prometheus_gives_at_once(scraped, tmp_path):
    output = tmp_path / "long.json"
    times = ["--start", scraped.stop - 25, "--end", scraped.stop, "--step", "1ms"]
    done = metrics(scraped, "--query", "time()", *times, "--output", output)
    assert done.returncode == 0, done.stderr
    (series,) = json.loads(output.read_text())["queries"][0]["data"]["result"]
    assert [at for at, _ in series["values"]] == [round(scraped.stop - 25 + k / 1000, 3) for k in range(25_001)]
    assert all(float(value) == pytest.approx(at) for at, value in series["values"])


def test_what_finds_nothing_is_listed_and_what_fails_is_named(scraped, tmp_path):
    queries = tmp_path / "queries.txt"
    queries.write_text("# some\nup\nno_such_metric{a='#'} # nothing\nrate(up)\nup{\n\nup # again\n")
    output = tmp_path / "some.json"
    done = metrics(scraped, "--queries-file", queries, *span(scraped), "--output", output)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert "empty: no_such_metric{a='#'}" in lines
    refused = next(line for line in lines if line.startswith("failed: rate(up): "))
    assert "expected type range vector" in refused
    assert any(line.startswith("failed: up{: ") for line in lines)
    saved = json.loads(output.read_text())
    assert [entry["status"] for entry in saved["queries"]] == ["success", "success", "error", "error"]
    assert saved["queries"][0]["data"] == scraped.server.ask("up", scraped.start, scraped.stop, 1)
    assert saved["metadata"]["empty"] == ["no_such_metric{a='#'}"]
    assert saved["metadata"]["failed"][0]["query"] == "rate(up)"
    assert saved["metadata"]["failed"][0]["error"] in refused
    assert saved["metadata"]["counts"]["failed"] == 2


def test_where_every_query_fails_nothing_is_saved(scraped, tmp_path):
    output = tmp_path / "none" / "saved.json"
    done = metrics(scraped, "--query", "up{", "--query", "rate(up)", "--output", output)
    assert done.returncode == 1
    assert "failed: up{: bad_data" in done.stderr
    assert list(output.parent.iterdir()) == []


def test_a_run_gives_its_times_and_its_name(scraped, tmp_path):
    output = tmp_path / "run.json"
    query = 'max by (state) (charon_run_frames{pipeline=~"$pipeline",namespace=~"$namespace"})'
    done = metrics(scraped, "--run", "ptychography", "--query", query, "--output", output)
    assert done.returncode == 0, done.stderr
    saved = json.loads(output.read_text())
    assert saved["metadata"]["run"]["name"] == "ptychography"
    assert saved["metadata"]["run"]["engine"] == "embedded"
    start, end = (datetime.fromisoformat(saved["metadata"][edge]).timestamp() for edge in ("start", "end"))
    assert scraped.start - 30 < start < scraped.stop
    assert start < end <= scraped.stop + 5
    assert 'pipeline=~"ptychography"' in saved["queries"][0]["query"]
    last = {s["metric"]["state"]: s["values"][-1][1] for s in saved["queries"][0]["data"]["result"]}
    assert last["reconstructed"] == last["accepted"] == "240"
    unknown = metrics(scraped, "--run", "nobody", "--query", "up")
    assert unknown.returncode == 2
    assert "ptychography" in unknown.stderr


def test_relative_times_and_the_step_that_fits_them(scraped):
    for times, span_s, step_s in (
        ([], 900, 5),
        (["--start", "-1h"], 3600, 5),
        (["--start", "-1d12h", "--end", "-12h"], 86_400, 120),
        (["--end", str(scraped.stop)], 900, 5),
        (["--start", "-30s", "--end", "now"], 30, 1),
    ):
        before = int(time.time())
        done = metrics(scraped, "--query", "time()", *times)
        metadata = json.loads(done.stdout)["metadata"]
        start, end = (datetime.fromisoformat(metadata[edge]).timestamp() for edge in ("start", "end"))
        assert (end - start, metadata["step_s"]) == (span_s, step_s)
        if "--end" not in times:
            assert before <= end <= time.time()


def test_metrics_are_listed(scraped):
    times = ["--start", scraped.start, "--end", scraped.stop]
    done = metrics(scraped, "--list-metrics", *times)
    assert done.returncode == 0
    names = done.stdout.splitlines()
    assert names == sorted(set(names))
    assert {"up", "node_cpu_seconds_total", "charon_latency_seconds_bucket", "prometheus_build_info"} <= set(names)
    described = json.loads(metrics(scraped, "--list-metrics", "--format", "json", *times).stdout)
    entry = next(entry for entry in described if entry["name"] == "node_cpu_seconds_total")
    assert entry["type"] == "counter"
    assert entry["help"]


def test_the_run_s_metrics_are_those_of_its_account(scraped):
    checked = subprocess.run(
        [shutil.which("promtool"), "check", "metrics"], input=scraped.text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    last = {}
    for query in ("charon_run_frames", 'charon_latency_seconds_count{since="detector"}', "charon_frames_total"):
        for series in scraped.server.ask(query, scraped.start, scraped.stop, 1)["result"]:
            labels = series["metric"]
            last[labels["__name__"], labels.get("vertex", ""), labels.get("state", "")] = int(series["values"][-1][1])
    summary = scraped.summary
    for state in ("published", "missed", "accepted", "reconstructed", "lost", "in_flight", "duplicates"):
        assert last["charon_run_frames", "", state] == summary[state]
    assert last["charon_frames_total", "in", "accepted"] == summary["accepted"] == 240
    assert last["charon_frames_total", "image", "reconstructed"] == 240
    assert last["charon_latency_seconds_count", "image", ""] == summary["latency_ms"]["frames"]
    whole = "histogram_quantile({}, sum by (le) (charon_latency_seconds_bucket{{since='detector'}}))"
    for q, name in ((0.5, "p50"), (0.99, "p99")):
        series = scraped.server.ask(whole.format(q), scraped.start, scraped.stop, 1)["result"][0]
        assert float(series["values"][-1][1]) == pytest.approx(summary["latency_ms"][name] / 1e3, rel=0.5)
