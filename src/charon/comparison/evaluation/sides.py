"""Two results folders side by side: two machines, or two commits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from charon.comparison.evaluation.evaluate import evaluate
from charon.comparison.evaluation.values import FIGURE_KEYS, common_values
from charon.comparison.model import EngineSetting
from charon.comparison.statistics import Ratio, unpaired_ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.comparison.model import CellResult, Comparison, Condition

    Side = tuple[Comparison, Sequence[CellResult]]


@dataclass(frozen=True, slots=True)
class SideRow:
    """A figure under one condition of both comparisons.

    Parameters
    ----------
    condition
        The condition, with the setting of A.
    key
        The figure: one of `FIGURE_KEYS`, or ``loss_free_hz`` under the condition of that rate in A.
    a, b
        Medians over the repetitions.
    ratio
        Ratio of A to B.
    same_setting
        Whether both comparisons used the same setting of the engine.
    """

    condition: Condition
    key: str
    a: float
    b: float
    ratio: Ratio
    same_setting: bool = True


@dataclass(frozen=True, slots=True)
class SideBySide:
    """Two comparisons; they contain machine, versions and commit.

    Parameters
    ----------
    a, b
        The comparisons.
    rows
        Figures that both have measured; not the highest loss-free rate if one side has only a bound of it.
    only_a, only_b
        Numbers of conditions of the part ``load`` that only one of them has measured.
    """

    a: Comparison
    b: Comparison
    rows: tuple[SideRow, ...]
    only_a: int
    only_b: int


def side_by_side(a: Side, b: Side) -> SideBySide:
    """Return the ratios of the figures of two comparisons under equal conditions.

    The setting may differ: each machine has its own best setting, and the rows show whether it does.

    Parameters
    ----------
    a, b
        A comparison and its results.
    """
    groups_a, groups_b = _groups(a[1]), _groups(b[1])
    both = [condition for condition in groups_a if condition in groups_b]
    rows = [row for condition in both for row in _rows(groups_a[condition], groups_b[condition])]
    return SideBySide(
        a=a[0],
        b=b[0],
        rows=(*rows, *_maximum_rows(a, b)),
        only_a=len(groups_a) - len(both),
        only_b=len(groups_b) - len(both),
    )


def _groups(results: Sequence[CellResult]) -> Mapping[Condition, list[CellResult]]:
    """Return the usable cells of the part ``load`` by condition, without the setting."""
    groups: defaultdict[Condition, list[CellResult]] = defaultdict(list)
    for result in results:
        if result.is_usable and result.cell.condition.part == "load":
            groups[_without_setting(result.cell.condition)].append(result)
    return groups


def _without_setting(condition: Condition) -> Condition:
    return condition.model_copy(update={"setting": EngineSetting()})


def _rows(a: Sequence[CellResult], b: Sequence[CellResult]) -> list[SideRow]:
    values_a, values_b = common_values(a), common_values(b)
    condition = a[0].cell.condition
    same_setting = all(result.cell.condition.setting == condition.setting for result in (*a, *b))
    ratios = {
        key: unpaired_ratio(values_a[key], values_b[key]) for key in FIGURE_KEYS if key in values_a and key in values_b
    }
    return [
        SideRow(condition, key, median(values_a[key]), median(values_b[key]), ratio, same_setting)
        for key, ratio in ratios.items()
        if ratio is not None
    ]


def _maximum_rows(a: Side, b: Side) -> list[SideRow]:
    rows: list[SideRow] = []
    others = evaluate(*b).maximum
    for row in evaluate(*a).maximum:
        for other in others:
            is_same = (row.engine, row.model, row.shape, row.replicas) == (
                other.engine,
                other.model,
                other.shape,
                other.replicas,
            )
            are_exact = not (row.is_bound or other.is_bound)
            ratio = unpaired_ratio([row.loss_free_hz], [other.loss_free_hz]) if is_same and are_exact else None
            if ratio is None or row.loss_free_hz is None or other.loss_free_hz is None:
                continue
            condition = next(
                result.cell.condition for result in row.results if result.cell.condition.rate_hz == row.loss_free_hz
            )
            same_setting = condition.setting == other.results[0].cell.condition.setting
            rows.append(SideRow(condition, "loss_free_hz", row.loss_free_hz, other.loss_free_hz, ratio, same_setting))
    return rows
