"""Evaluate the results of one comparison."""

from __future__ import annotations

from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any

from charon.comparison.bisection import RateSearch
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
from charon.comparison.evaluation.values import common_values, median_of_all, paired_ratios, sum_counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from charon.comparison.model import CellResult, Comparison, Condition, Engine, Part, Plan

_NOISE_LIMIT = 0.05


def evaluate(comparison: Comparison, results: Sequence[CellResult]) -> Evaluation:
    """Return the figures of a comparison, complete or not.

    Parameters
    ----------
    comparison
        The comparison.
    results
        All its results. Those that are not usable are listed and otherwise ignored.
    """
    plan = comparison.plan
    # The repetition of an interrupted cell replaces it.
    usable = list({(r.cell.condition, r.cell.repetition): r for r in results if r.is_usable}.values())
    order = {engine: number for number, engine in enumerate(plan.engines)}
    usable.sort(key=lambda r: (_load_order(plan, r.cell.condition), order.get(r.cell.condition.engine, len(order))))
    maximum = tuple(
        _maximum_row(plan, group) for group in _groups(usable, "maximum", "engine", "replicas", "model", "shape")
    )
    return Evaluation(
        reference=plan.engines[0],
        engines=tuple(plan.engines),
        load=tuple(
            _load_row(plan, group) for group in _groups(usable, "load", "model", "shape", "replicas", "rate_hz")
        ),
        maximum=maximum,
        scaling=tuple(_scaling_row(row, maximum) for row in maximum),
        overload=tuple(_overload_row(group) for group in _overload_groups(usable, "overload")),
        recovery=tuple(_recovery_row(group) for group in _overload_groups(usable, "recovery")),
        noise=tuple(row for group in _overload_groups(usable, "noise") for row in _noise_rows(group)),
        excluded=tuple(_excluded(result) for result in results if not result.is_usable),
        missing=_missing(comparison, results),
    )


def _load_order(plan: Plan, condition: Condition) -> tuple[int, int, float]:
    models = {model: number for number, model in enumerate(plan.models)}
    return models.get(condition.model, len(models)), condition.replicas, condition.rate_hz


def _groups(results: Iterable[CellResult], part: Part, *fields: str) -> list[list[CellResult]]:
    """Return the cells of a part, grouped by fields of their condition, in order of repetition."""
    groups: defaultdict[tuple[Any, ...], list[CellResult]] = defaultdict(list)
    for result in results:
        if result.cell.condition.part == part:
            groups[tuple(getattr(result.cell.condition, field) for field in fields)].append(result)
    return [sorted(group, key=lambda result: result.cell.repetition) for group in groups.values()]


def _overload_groups(results: Iterable[CellResult], part: Part) -> list[list[CellResult]]:
    return _groups(results, part, "engine", "model", "shape", "replicas", "rate_hz")


def _load_row(plan: Plan, group: Sequence[CellResult]) -> LoadRow:
    condition = group[0].cell.condition
    sides: dict[Engine, list[CellResult]] = {
        engine: [r for r in group if r.cell.condition.engine == engine] for engine in plan.engines
    }
    reference, *others = plan.engines
    return LoadRow(
        model=condition.model,
        shape=condition.shape,
        replicas=condition.replicas,
        rate_hz=condition.rate_hz,
        engines=tuple(_engine_row(engine, side) for engine, side in sides.items() if side),
        ratios={engine: found for engine in others if (found := paired_ratios(sides[reference], sides[engine]))},
    )


def _engine_row(engine: Engine, results: Sequence[CellResult]) -> EngineRow:
    values = common_values(results)
    return EngineRow(
        engine=engine,
        setting=results[0].cell.condition.setting,
        repetitions=len(results),
        values={key: median(found) for key, found in values.items()},
        spread={key: (min(found), max(found)) for key, found in values.items()},
        offered_hz=median_of_all([result.offered_hz for result in results]),
        counts=sum_counts(results),
        kept_up=all(result.kept_up for result in results),
        results=tuple(results),
    )


def _maximum_row(plan: Plan, group: Sequence[CellResult]) -> MaximumRow:
    condition = group[0].cell.condition
    rates_hz = [result.cell.condition.rate_hz for result in group]
    search = RateSearch(min(rates_hz), min(rates_hz), max(rates_hz), tolerance=1.0)
    for result in group:
        search.add(result.cell.condition.rate_hz, result.kept_up)
    loss_free_hz, lossy_hz = search.result()
    return MaximumRow(
        engine=condition.engine,
        model=condition.model,
        shape=condition.shape,
        replicas=condition.replicas,
        loss_free_hz=loss_free_hz,
        lossy_hz=lossy_hz,
        is_bound=loss_free_hz is not None and (lossy_hz is None or lossy_hz > loss_free_hz * (1 + plan.tolerance)),
        contradictory=search.contradictions > 0,
        results=tuple(sorted(group, key=lambda result: result.cell.number)),
    )


def _scaling_row(row: MaximumRow, maximum: Sequence[MaximumRow]) -> ScalingRow:
    same = [found for found in maximum if (found.engine, found.model) == (row.engine, row.model)]
    first = min(same, key=lambda found: found.replicas)
    are_exact = not (row.is_bound or first.is_bound)
    speed_up = row.loss_free_hz / first.loss_free_hz if row.loss_free_hz and first.loss_free_hz and are_exact else None
    return ScalingRow(row.engine, row.model, row.replicas, row.loss_free_hz, speed_up)


def _overload_row(group: Sequence[CellResult]) -> OverloadRow:
    condition = group[0].cell.condition
    memory = [result.rss_max_bytes for result in group if result.rss_max_bytes is not None]
    return OverloadRow(
        engine=condition.engine,
        model=condition.model,
        shape=condition.shape,
        replicas=condition.replicas,
        rate_hz=condition.rate_hz,
        repetitions=len(group),
        counts=sum_counts(group),
        drain_s=median_of_all([result.drain_s for result in group]),
        rss_max_bytes=max(memory, default=None),
        results=tuple(group),
    )


def _recovery_row(group: Sequence[CellResult]) -> RecoveryRow:
    row = _overload_row(group)
    found = [(None, None) if (r := c.recovery) is None else (r.recovered_s, r.backlog_cleared_s) for c in group]
    return RecoveryRow(
        *(getattr(row, field) for field in OverloadRow.__dataclass_fields__),
        recovered_s=median_of_all([recovered_s for recovered_s, _ in found]),
        backlog_cleared_s=median_of_all([cleared_s for _, cleared_s in found]),
        not_recovered=sum(recovered_s is None for recovered_s, _ in found),
    )


def _noise_rows(group: Sequence[CellResult]) -> list[NoiseRow]:
    condition = group[0].cell.condition
    a, b = ([result for result in group if result.cell.condition.side == side] for side in ("A", "B"))
    return [
        NoiseRow(
            engine=condition.engine,
            model=condition.model,
            replicas=condition.replicas,
            rate_hz=condition.rate_hz,
            key=key,
            ratio=ratio,
            within_5_percent=abs(ratio.value - 1) <= _NOISE_LIMIT,
            covers_1=bool(ratio.covers_1),
        )
        for key, ratio in paired_ratios(a, b).items()
    ]


def _excluded(result: CellResult) -> ExcludedCell:
    if result.failure is not None:
        return ExcludedCell(result, result.failure, "failed")
    return ExcludedCell(result, result.invalid or "", "invalid")


def _missing(comparison: Comparison, results: Sequence[CellResult]) -> dict[tuple[Part, Engine], str]:
    """Return why a part has no usable cell of an engine."""
    parts: tuple[Part, ...] = ("load", "maximum", "overload", "recovery", "noise")
    reasons: dict[tuple[Part, Engine], str] = {}
    for part in parts:
        for engine in comparison.plan.engines:
            cells = [r for r in results if (r.cell.condition.part, r.cell.condition.engine) == (part, engine)]
            if any(result.is_usable for result in cells):
                continue
            if cells:
                excluded = _excluded(cells[-1])
                reasons[part, engine] = f"{excluded.kind}: {excluded.reason}"
            elif part not in comparison.plan.parts:
                reasons[part, engine] = f"the part {part} is not in the plan"
            elif comparison.ended_ns is None:
                reasons[part, engine] = "the comparison is not complete"
            else:
                reasons[part, engine] = "a part that it depends on has no result"
    return reasons
