"""Range queries to a Prometheus server, and files with their results."""

from __future__ import annotations

from charon.adapters.prometheus.query.client import PrometheusClient, QueryError
from charon.adapters.prometheus.query.export import Export, ExportCounts, ExportedQuery
from charon.adapters.prometheus.query.formats import require_pyarrow, save
from charon.adapters.prometheus.query.output_file import is_device, open_output
from charon.adapters.prometheus.query.queries_file import read_queries, resolve_at_modifiers, substitute_variables
from charon.adapters.prometheus.query.query_range import QueryRange, default_step_ms, parse_step
from charon.adapters.prometheus.query.saved import SavedSeries, read_saved
from charon.adapters.prometheus.query.series import QueryResult, Series

__all__ = [
    "Export",
    "ExportCounts",
    "ExportedQuery",
    "PrometheusClient",
    "QueryError",
    "QueryRange",
    "QueryResult",
    "SavedSeries",
    "Series",
    "default_step_ms",
    "is_device",
    "open_output",
    "parse_step",
    "read_queries",
    "read_saved",
    "require_pyarrow",
    "resolve_at_modifiers",
    "save",
    "substitute_variables",
]
