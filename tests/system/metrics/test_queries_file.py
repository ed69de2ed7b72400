"""Charon's query file: Prometheus accepts every query, and every name in it is documented."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest

from charon.adapters.prometheus.query import (
    Export,
    PrometheusClient,
    QueryRange,
    read_queries,
    substitute_variables,
)

ROOT = Path(__file__).parents[3]
FILE = ROOT / "workflows/aps/metrics.txt"
PAGE = ROOT / "docs/reference/metrics.md"
OURS = ("forwarder_", "vertex_", "isb_", "pipeline_", "controller_", "nats_", "DCGM_", "charon_", "pvapy_")


def documented():
    """Return the names in the page's tables, except those that do not exist."""
    text = PAGE.read_text()
    absent = text[text.index("### Names that do not exist") : text.index("### Others")]
    return set(re.findall(r"`(\w+)`", text.replace(absent, "")))


def test_names_in_queries_are_documented():
    names = set()
    for query in read_queries(FILE):
        assert "$" not in re.sub(r'=~"\$(namespace|pipeline)"', "", query)
        matches = set(re.findall(r"\b([A-Za-z]+_\w+)[{\[]|^(DCGM_\w+)$", query))
        names |= {
            re.sub(r"_(bucket|sum|count)$", "", name) for pair in matches for name in pair if name.startswith(OURS)
        }
    assert len(names) > 40
    assert names - documented() == set()


def test_query_file_covers_each_group():
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
def test_prometheus_accepts_every_query(scraped):
    queries = substitute_variables(read_queries(FILE), {"pipeline": "ptychography"})
    query_range = QueryRange(scraped.started * 1000, scraped.ended * 1000, 1000)

    async def run():
        with Export(queries, query_range) as export:
            async with PrometheusClient(scraped.server.url) as client:
                await export.collect(client)
            return export.queries

    exported = asyncio.run(run())
    assert [entry.error for entry in exported if entry.error] == []
    with_samples = {entry.query for entry in exported if entry.sample_count}
    assert [query for query in queries if "charon_" in query and query not in with_samples] == [
        # No frame was rejected.
        'sum by (pipeline, vertex, reason) (charon_rejected_total{namespace=~".*",pipeline=~"ptychography"})'
    ]
    assert any("node_cpu_seconds_total" in query for query in with_samples)


@pytest.mark.system
@pytest.mark.timeout(180)
def test_exposed_metrics_are_documented(scraped):
    exposed = set(re.findall(r"^# TYPE (\w+) ", scraped.text, re.MULTILINE))
    assert {"charon_latency_seconds", "charon_run_frames", "charon_edge_bytes"} <= exposed
    assert exposed - documented() == set()
