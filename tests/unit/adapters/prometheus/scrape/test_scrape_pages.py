"""Pages become metrics in a valid exposition: counts match, text is escaped, buckets are cumulative."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from charon.adapters.prometheus.scrape import MetricFamily, PageMetrics, render
from charon.ledger.entries import LedgerEntry
from charon.ledger.id_set import IdSet
from charon.ledger.pages import SinkPage, SourcePage
from charon.ledger.process import ProcessStats
from charon.ledger.sink_report import ImageReport, SinkReport
from charon.ledger.states import VertexState
from charon.science.latency import LatencyRecorder
from charon.vertices.stats import Stats

LINE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')


def samples(text):
    """Return {(name, labels): value} of an exposition."""
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            matched = LINE.fullmatch(line)
            assert matched is not None, line
            name, labels, value = matched.groups()
            values[name, tuple(sorted(re.findall(r'([a-z_]+)="((?:[^"\\\n]|\\.)*)"', labels or "")))] = float(value)
    return values


def page():
    stats = Stats(state=VertexState.RUNNING, busy_s=1.5)
    stats.count("done", 12)
    stats.count("repeated", 2)
    stats.batches[3] = 4
    stats.batches[200] = 1
    latency = LatencyRecorder()
    for ms in (0.5, 12, 12, 400_000):
        latency.add(round(ms * 1e6))
    latency.add(-1)
    entries = (
        entry({"reconstructed": IdSet([*range(1, 11), 12]), "rejected:shape": IdSet([11])}, {"duplicates": 3}),
        entry({"reconstructed": IdSet(range(1, 6))}, {}),
    )
    image = ImageReport(since_detector=latency.latency(), since_received=LatencyRecorder().latency())
    return SinkPage(process=stats.snapshot(), report=SinkReport(entries=entries, image=image))


def entry(sets, counts):
    return LedgerEntry(channel="ad:image", epoch_ns=1, sets=sets, counts=counts)


def exposition(*pages):
    metrics = PageMetrics()
    for k, replica_page in enumerate(pages):
        metrics.add(replica_page, {"vertex": 'a"\\\n', "replica": str(k)})
    return render(metrics.families())


def test_page_becomes_metrics():
    values = samples(exposition(page()))
    common = (("replica", "0"), ("vertex", r"a\"\\\n"))

    def value(name, **labels):
        return values[name, tuple(sorted((*common, *labels.items())))]

    assert value("charon_messages_total") == 12
    assert value("charon_events_total", event="repeated") == 2
    assert value("charon_busy_seconds_total") == 1.5
    assert value("charon_frames_total", state="reconstructed") == 16
    assert value("charon_rejected_total", reason="shape") == 1
    assert value("charon_duplicates_total") == 3
    assert value("charon_vertex_ready") == 1
    assert value("charon_resident_memory_bytes") > 1e6
    assert value("charon_batch_size_bucket", le="2") == 0
    assert value("charon_batch_size_bucket", le="4") == value("charon_batch_size_bucket", le="128") == 4
    assert value("charon_batch_size_bucket", le="+Inf") == value("charon_batch_size_count") == 5
    assert value("charon_batch_size_sum") == 3 * 4 + 200
    since = {"since": "detector"}
    assert value("charon_latency_seconds_bucket", le="0.001", **since) == 1
    assert value("charon_latency_seconds_bucket", le="0.015", **since) == 3
    assert value("charon_latency_seconds_bucket", le="300", **since) == 3
    assert value("charon_latency_seconds_count", **since) == 4
    assert value("charon_latency_seconds_sum", **since) == pytest.approx(400.0245)
    assert value("charon_clock_disagreements_total", **since) == 1


def test_each_metric_is_described_once():
    text = exposition(page(), page(), SourcePage(process=ProcessStats()))
    for kind in ("HELP", "TYPE"):
        names = re.findall(rf"^# {kind} (\S+)", text, re.MULTILINE)
        assert len(names) == len(set(names)) > 10
    ready = [value for (name, _), value in samples(text).items() if name == "charon_vertex_ready"]
    assert ready == [1, 1, 0]
    # The format requires the samples of a family to be consecutive.
    order = [name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name, _ in samples(text)]
    assert [k for k, name in enumerate(order) if k and name != order[k - 1] and name in order[:k]] == []


def test_promtool_accepts_the_exposition():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is missing; install the package prometheus")
    source = SourcePage(process=ProcessStats(), channel="ad:image", waiting=3, restarts=1)
    text = exposition(page(), source)
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    invalid = text.replace("# TYPE charon_frames_total counter", "# TYPE charon_frames_total histogram")
    rejected = subprocess.run(
        [promtool, "check", "metrics"], input=invalid, capture_output=True, text=True, check=False
    )
    assert rejected.returncode != 0


@pytest.mark.parametrize(
    ("value", "text"),
    [(3, "3"), (True, "1"), (0.25, "0.25"), (1e20, "1e+20"), (float("nan"), "NaN"), (float("-inf"), "-Inf")],
)
def test_numbers_have_prometheus_format(value, text):
    family = MetricFamily("x", "gauge", "two\nlines \\")
    family.add(value, {})
    assert render([family]) == f"# HELP x two\\nlines \\\\\n# TYPE x gauge\nx {text}\n"
    assert render([MetricFamily("empty", "gauge", "none")]) == ""
