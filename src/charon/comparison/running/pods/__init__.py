"""Measurement of a cell in the pods of a cluster."""

from charon.comparison.running.pods.run import POD_ENGINES, measure_pods

__all__ = ["POD_ENGINES", "measure_pods"]
