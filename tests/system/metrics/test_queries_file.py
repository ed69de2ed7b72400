"""The queries that come with Charon: a Prometheus takes them all, and every name in them is documented."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from charon.adapters.prometheus.query.client import Prometheus
from charon.adapters.prometheus.query.export import Export
from charon.adapters.prometheus.query.queries_file import fill_in, read_queries
from charon.adapters.prometheus.query.times import Span

ROOT = Path(__file__).parents[3]
FILE = ROOT / "workflows/aps/metrics.txt"
PAGE = ROOT / "docs/reference/metrics.md"
OURS = ("forwarder_", "vertex_", "isb_", "pipeline_", "controller_", "nats_", "DCGM_", "charon_")


def documented():
    """Return the names that the page's tables have, those of what does not exist left out."""
    text = PAGE.read_text()
    absent = text[text.index("### Names that do not exist") : text.index("### Others")]
    return set(re.findall(r"`(\w+)`", text.replace(absent, "")))


def test_every_name_in_the_queries_is_documented():
    names = set()
    for query in read_queries(FILE):
        assert "$" not in re.sub(r'=~"\$(namespace|pipeline)"', "", query)
        found = set(re.findall(r"\b([A-Za-z]+_\w+)[{\[]|^(DCGM_\w+)$", query))
        names |= {re.sub(r"_(bucket|sum|count)$", "", name) for pair in found for name in pair if name.startswith(OURS)}
    assert len(names) > 40
    assert names - documented() == set()


def test_what_runs_are_compared_by_is_asked_for():
    text = FILE.read_text()
    headings = re.findall(r"^# --- (.*) ---$", text, re.MULTILINE)
    for group in ("Messaging layer: throughput", "Messaging layer: pending", "Messaging layer: buffer", "Latency"):
        assert any(heading.startswith(group) for heading in headings), group
    for group in ("CPU", "memory", "network", "filesystem", "Control", "System health", "GPU"):
        assert any(group in heading for heading in headings), group
    ours = [query for query in read_queries(FILE) if "charon_" in query]
    assert all('namespace=~"$namespace",pipeline=~"$pipeline"' in query for query in ours)


@pytest.mark.system
@pytest.mark.timeout(180)
def test_a_prometheus_takes_every_query_and_finds_what_the_pipeline_told(scraped):
    queries = fill_in(read_queries(FILE), {"pipeline": "ptychography"})
    span = Span(scraped.start * 1000, scraped.stop * 1000, 1000)

    async def run():
        with Export(queries, span) as export:
            async with Prometheus(scraped.server.url) as prometheus:
                await export.collect(prometheus)
            return export.outcomes

    outcomes = asyncio.run(run())
    assert [outcome.error for outcome in outcomes if outcome.error] == []
    found = {outcome.query for outcome in outcomes if outcome.samples}
    assert [query for query in queries if "charon_" in query and query not in found] == [
        # Nothing was rejected.
        'sum by (pipeline, vertex, reason) (charon_rejected_total{namespace=~".*",pipeline=~"ptychography"})'
    ]
    assert any("node_cpu_seconds_total" in query for query in found)


@pytest.mark.system
@pytest.mark.timeout(180)
def test_every_metric_that_a_run_tells_is_documented(scraped):
    told = set(re.findall(r"^# TYPE (\w+) ", scraped.text, re.MULTILINE))
    assert {"charon_latency_seconds", "charon_run_frames", "charon_edge_bytes"} <= told
    assert told - documented() == set()
