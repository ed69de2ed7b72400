"""Estimate of the remaining time of a comparison."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

from charon.comparison.model import PARTS, Engine, Part
from charon.comparison.selection import candidate_settings

if TYPE_CHECKING:
    from charon.comparison.model import CellResult, Plan

# Cells of a search with a tolerance of 10 %, without confirmations.
_SEARCH_CELLS = 5
_OVERHEAD_S = 8.0
"""Time for start and drain of an engine, until a cell of it was measured."""


@dataclass
class Estimate:
    """Number of cells and time that remain.

    Parameters
    ----------
    plan
        What is measured.
    cores
        Logical CPUs of the machine, which determine the number of candidates of the part ``setting``.
    """

    plan: Plan
    cores: int
    _done: dict[tuple[Part, Engine], int] = field(default_factory=dict["tuple[Part, Engine]", int])
    _overheads_s: dict[Engine, list[float]] = field(default_factory=dict[Engine, "list[float]"])
    _part: Part = "setting"

    def add(self, result: CellResult) -> None:
        """Add the final result of a cell."""
        condition = result.cell.condition
        key = (condition.part, condition.engine)
        self._done[key] = self._done.get(key, 0) + 1
        self._part = condition.part
        if result.failure is None:
            wall_s = (result.ended_ns - result.started_ns) / 1e9
            overhead_s = max(0.0, wall_s - condition.warm_up_s - condition.duration_s)
            self._overheads_s.setdefault(condition.engine, []).append(overhead_s)

    @property
    def done(self) -> int:
        """Number of cells with a final result."""
        return sum(self._done.values())

    @property
    def left(self) -> int:
        """Expected number of cells without a final result."""
        return sum(self._left(part, engine) for part in self.plan.parts for engine in self.plan.engines)

    @property
    def left_s(self) -> float:
        """Expected time until the end in s."""
        return sum(
            self._left(part, engine) * self._cell_s(part, engine)
            for part in self.plan.parts
            for engine in self.plan.engines
        )

    def _cell_s(self, part: Part, engine: Engine) -> float:
        overheads_s = self._overheads_s.get(engine)
        overhead_s = median(overheads_s) if overheads_s else _OVERHEAD_S
        return self.plan.warm_up_s + self.plan.duration_of(part) + overhead_s

    def _left(self, part: Part, engine: Engine) -> int:
        if PARTS.index(part) < PARTS.index(self._part):
            return 0
        return max(0, self._expected(part, engine) - self._done.get((part, engine), 0))

    def _expected(self, part: Part, engine: Engine) -> int:
        """Return the number of cells of an engine in a part."""
        plan = self.plan
        grid = len(plan.models) * len(plan.replicas)
        expected: dict[Part, int] = {
            "setting": len(plan.models) * len(candidate_settings(engine, self.cores)) * plan.setting_repetitions,
            "load": grid * len(plan.rates_hz) * plan.repetitions,
            "maximum": grid * (_SEARCH_CELLS + 2 * (plan.confirmations - 1)),
            "overload": grid,
            "recovery": grid * plan.repetitions,
            "noise": 2 * plan.noise_repetitions,
        }
        return expected[part]
