"""``charonctl metrics``: save the metrics of a run from a Prometheus server."""

from __future__ import annotations

from charon.cli.metrics.command import metrics

__all__ = ["metrics"]
