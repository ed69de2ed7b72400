"""Evaluation of the results of a comparison: medians, ratios with intervals, maxima, noise."""

from charon.comparison.evaluation.evaluate import evaluate
from charon.comparison.evaluation.rows import (
    EngineRow,
    Evaluation,
    ExcludedCell,
    LoadRow,
    MaximumRow,
    NoiseRow,
    OverloadRow,
    RecoveryRow,
    ScalingRow,
)
from charon.comparison.evaluation.sides import SideBySide, SideRow, side_by_side
from charon.comparison.evaluation.values import FIGURE_KEYS

__all__ = [
    "FIGURE_KEYS",
    "EngineRow",
    "Evaluation",
    "ExcludedCell",
    "LoadRow",
    "MaximumRow",
    "NoiseRow",
    "OverloadRow",
    "RecoveryRow",
    "ScalingRow",
    "SideBySide",
    "SideRow",
    "evaluate",
    "side_by_side",
]
