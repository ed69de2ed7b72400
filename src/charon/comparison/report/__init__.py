"""Report of a comparison: one HTML file with figures, tables and a verdict."""

from charon.comparison.report.document import write_report
from charon.comparison.report.metrics import write_metrics_report

__all__ = ["write_metrics_report", "write_report"]
