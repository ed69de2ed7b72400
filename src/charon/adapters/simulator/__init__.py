"""Simulated detector: prepares simulated or recorded frames in advance and publishes them on time."""

from charon.adapters.simulator.acquisition import Acquisition, LatePositionPublisher, Output, Plan, acquire
from charon.adapters.simulator.prefetch import Prefetcher
from charon.adapters.simulator.series import Series, noise_series, simulated_series

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
