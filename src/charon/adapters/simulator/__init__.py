"""Simulated detector: prepares simulated or recorded frames in advance and publishes them on time."""

from charon.adapters.detector.acquisition import Acquisition, LatePositionPublisher, Output, Plan, acquire
from charon.adapters.detector.prefetch import Prefetcher
from charon.adapters.detector.series import Series, noise_series, simulated_series

__all__ = [
    "Acquisition",
    "LatePositionPublisher",
    "Output",
    "Plan",
    "Prefetcher",
    "Series",
    "acquire",
    "noise_series",
    "simulated_series",
]
