"""Expose the metrics of vertices to Prometheus."""

from __future__ import annotations

from charon.adapters.prometheus.scrape.pages import PageMetrics
from charon.adapters.prometheus.scrape.server import serve_metrics, serve_text
from charon.adapters.prometheus.scrape.text import MetricFamily, render

__all__ = ["MetricFamily", "PageMetrics", "render", "serve_metrics", "serve_text"]
