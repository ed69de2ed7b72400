"""A detector made of software: frames, simulated or recorded, made ahead and published on time."""

from charon.adapters.detector.acquisition import Acquisition, LatePositions, Output, Plan, acquire
from charon.adapters.detector.prefetch import Ahead
from charon.adapters.detector.series import Series, noise, simulated

__all__ = [
    "Acquisition",
    "Ahead",
    "LatePositions",
    "Output",
    "Plan",
    "Series",
    "acquire",
    "noise",
    "simulated",
]
