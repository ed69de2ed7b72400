"""Data of an evaluation, without the cells that are not usable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charon.comparison.model import CellResult, Engine, EngineSetting, FrameCounts, Part
    from charon.comparison.statistics import Ratio


@dataclass(frozen=True, slots=True)
class EngineRow:
    """One engine at one load.

    Parameters
    ----------
    engine, setting
        The engine and its setting.
    repetitions
        Number of usable repetitions.
    values
        Median over the repetitions by figure (`FIGURE_KEYS`); a figure that a repetition has not measured is absent.
    spread
        Smallest and largest value over the repetitions, by figure.
    offered_hz
        Median rate at which the detector published; None if a repetition has not measured it.
    counts
        Sum of the accounts.
    kept_up
        Whether the engine kept up in every repetition.
    results
        The cells.
    """

    engine: Engine
    setting: EngineSetting
    repetitions: int
    values: dict[str, float]
    spread: dict[str, tuple[float, float]]
    offered_hz: float | None
    counts: FrameCounts
    kept_up: bool
    results: tuple[CellResult, ...]


@dataclass(frozen=True, slots=True)
class LoadRow:
    """All engines at one load.

    Parameters
    ----------
    model, shape
        Model bundle and (rows, columns) of the frames.
    replicas
        Number of inference workers.
    rate_hz
        Frame rate of the detector.
    engines
        The engines with usable cells.
    ratios
        Ratios of the reference engine to each other one, by engine and figure; a figure without a ratio is absent.
    """

    model: str
    shape: tuple[int, int]
    replicas: int
    rate_hz: float
    engines: tuple[EngineRow, ...]
    ratios: dict[Engine, dict[str, Ratio]]


@dataclass(frozen=True, slots=True)
class MaximumRow:
    """Highest loss-free rate of an engine.

    Parameters
    ----------
    engine, model, shape, replicas
        The engine and its load.
    loss_free_hz
        The highest loss-free rate; None if every measured rate was lossy.
    lossy_hz
        The lowest lossy rate above it; None if there is none: the detector or the plan limited the rate.
    is_bound
        Whether the engine may reach a higher loss-free rate: no lossy rate was measured within the tolerance of the
        search, because the detector, other work or an interrupt ended it.
    contradictory
        Whether cells contradict this limit.
    results
        The cells, in the order of the search.
    """

    engine: Engine
    model: str
    shape: tuple[int, int]
    replicas: int
    loss_free_hz: float | None
    lossy_hz: float | None
    is_bound: bool
    contradictory: bool
    results: tuple[CellResult, ...]


@dataclass(frozen=True, slots=True)
class ScalingRow:
    """Highest loss-free rate against the number of replicas.

    Parameters
    ----------
    engine, model, replicas
        The engine and its load.
    loss_free_hz
        The highest loss-free rate, or None.
    speed_up
        Ratio to the rate with the smallest number of replicas; None if one of them is missing or only a bound.
    """

    engine: Engine
    model: str
    replicas: int
    loss_free_hz: float | None
    speed_up: float | None


@dataclass(frozen=True, slots=True)
class OverloadRow:
    """An engine at a multiple of its own maximum.

    Parameters
    ----------
    engine, model, shape, replicas, rate_hz
        The engine and its load.
    repetitions
        Number of usable repetitions.
    counts
        Sum of the accounts.
    drain_s
        Median time from the last frame to the last result; None if a repetition had no result.
    rss_max_bytes
        Largest sum of the processes' maximum resident memory; None if it was not measured.
    results
        The cells.
    """

    engine: Engine
    model: str
    shape: tuple[int, int]
    replicas: int
    rate_hz: float
    repetitions: int
    counts: FrameCounts
    drain_s: float | None
    rss_max_bytes: int | None
    results: tuple[CellResult, ...]


@dataclass(frozen=True, slots=True)
class RecoveryRow(OverloadRow):
    """An engine of which one inference worker was killed.

    Parameters
    ----------
    recovered_s, backlog_cleared_s
        Median times after the kill; None if the engine did not recover in one of the repetitions.
    not_recovered
        Number of repetitions in which the rate did not recover.
    """

    recovered_s: float | None
    backlog_cleared_s: float | None
    not_recovered: int


@dataclass(frozen=True, slots=True)
class NoiseRow:
    """Ratio of a figure of an engine to that of the same engine.

    Parameters
    ----------
    engine, model, replicas, rate_hz
        The engine and its load.
    key
        The figure, one of `FIGURE_KEYS`.
    ratio
        Ratio of side A to side B.
    within_5_percent
        Whether the ratio is within 5 % of 1.
    covers_1
        Whether the interval contains 1; False without an interval.
    """

    engine: Engine
    model: str
    replicas: int
    rate_hz: float
    key: str
    ratio: Ratio
    within_5_percent: bool
    covers_1: bool


@dataclass(frozen=True, slots=True)
class ExcludedCell:
    """A result that is excluded from all figures.

    Parameters
    ----------
    result
        The result.
    reason
        Why it is not usable.
    kind
        ``invalid`` or ``failed``.
    """

    result: CellResult
    reason: str
    kind: str


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of a comparison.

    Parameters
    ----------
    reference
        Engine that is the numerator of every ratio.
    engines
        All engines, the reference first.
    load, maximum, scaling, overload, recovery, noise
        Rows of each part, by model, replicas and rate in the order of the plan.
    excluded
        Results that are excluded from all figures.
    missing
        Why a part of the plan has no usable cell of an engine, by part and engine.
    """

    reference: Engine
    engines: tuple[Engine, ...]
    load: tuple[LoadRow, ...]
    maximum: tuple[MaximumRow, ...]
    scaling: tuple[ScalingRow, ...]
    overload: tuple[OverloadRow, ...]
    recovery: tuple[RecoveryRow, ...]
    noise: tuple[NoiseRow, ...]
    excluded: tuple[ExcludedCell, ...]
    missing: dict[tuple[Part, Engine], str]
