"""Cells of a comparison in their order, some of which depend on the results of earlier ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.comparison.bisection import RateSearch
from charon.comparison.model import ChosenSetting, Condition, EngineSetting
from charon.comparison.order import alternated, interleaved, round_robin
from charon.comparison.running.validity import was_disturbed
from charon.comparison.selection import candidate_settings, choose_setting

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from charon.comparison.model import CellResult, Engine, Part, Plan

OVERLOAD = 1.5
"""Rate of the part ``overload``, as a multiple of the engine's own maximum."""
MIN_RATE_HZ, MAX_RATE_HZ = 1.0, 20_000.0
"""Limits of the search for the maximum."""


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell without its number: the same in a comparison and in its continuation."""

    condition: Condition
    repetition: int


@dataclass
class Schedule:
    """Order of the cells of one comparison.

    Parameters
    ----------
    plan
        What is measured.
    shapes
        (rows, columns) of the frames of each model.
    cores
        Logical CPUs of the machine.
    settings
        Settings that have been chosen before.
    on_setting
        Called with each chosen setting.
    on_note
        Called with one line for each group of cells that is skipped.
    """

    plan: Plan
    shapes: Mapping[str, tuple[int, int]]
    cores: int
    settings: Sequence[ChosenSetting] = ()
    on_setting: Callable[[ChosenSetting], None] = lambda _: None
    on_note: Callable[[str], None] = lambda _: None
    _chosen: dict[tuple[Engine, str], EngineSetting] = field(default_factory=dict["tuple[Engine, str]", EngineSetting])
    _maxima: dict[tuple[str, int, Engine], float] = field(default_factory=dict["tuple[str, int, Engine]", float])
    _complete: set[tuple[str, int, Engine]] = field(default_factory=set["tuple[str, int, Engine]"])

    def cells(self) -> Generator[PlannedCell, CellResult]:
        """Yield the cells in order; the caller sends the final result of each.

        The order is: setting, load, maximum, overload, recovery, noise. It depends only on the plan and the results.
        """
        self._chosen = {(s.engine, s.model): s.setting for s in self.settings}
        self._maxima, self._complete = {}, set()
        parts = {
            "setting": self._setting,
            "load": self._load,
            "maximum": self._maximum,
            "overload": self._overload,
            "recovery": self._recovery,
            "noise": self._noise,
        }
        for part, cells in parts.items():
            if part in self.plan.parts:
                yield from cells()

    def _setting(self) -> Generator[PlannedCell, CellResult]:
        for model in self.plan.models:
            conditions = round_robin(
                [
                    [
                        self._condition("setting", engine, model, self.plan.top_rate_hz, setting=setting)
                        for setting in candidate_settings(engine, self.cores)
                    ]
                    for engine in self.plan.engines
                ]
            )
            results = yield from _run(conditions, self.plan.setting_repetitions)
            for engine in self.plan.engines:
                if (engine, model) not in self._chosen:
                    chosen = choose_setting(engine, model, [r for r in results if r.is_usable])
                    self._chosen[engine, model] = chosen.setting
                    self.on_setting(chosen)

    def _load(self) -> Generator[PlannedCell, CellResult]:
        for model, replicas in self._grid():
            for rate_hz in self.plan.rates_hz:
                conditions = [
                    self._condition("load", engine, model, rate_hz, replicas=replicas) for engine in self.plan.engines
                ]
                yield from _run(conditions, self.plan.repetitions)

    def _maximum(self) -> Generator[PlannedCell, CellResult]:
        for model, replicas in self._grid():
            searches: dict[Engine, RateSearch] = {engine: self._search() for engine in self.plan.engines}
            repetitions: Counter[Condition] = Counter()
            remaining, turn = list(self.plan.engines), 0
            while remaining:
                for engine in alternated(tuple(remaining), turn):
                    rate_hz = searches[engine].next_rate_hz()
                    if rate_hz is None:
                        remaining.remove(engine)
                        continue
                    condition = self._condition("maximum", engine, model, rate_hz, replicas=replicas)
                    result = yield PlannedCell(condition, repetitions[condition])
                    repetitions[condition] += 1
                    if not self._add_answer(searches[engine], result):
                        remaining.remove(engine)
                turn += 1
            for engine, search in searches.items():
                highest_hz, _ = search.result()
                if highest_hz is not None:
                    self._maxima[model, replicas, engine] = highest_hz
                if search.next_rate_hz() is None:
                    self._complete.add((model, replicas, engine))

    def _add_answer(self, search: RateSearch, result: CellResult) -> bool:
        """Add a result to a search; return whether to continue it.

        A rate at which the cell cannot run, or the detector cannot publish, limits the search from above. A cell that
        cannot run at the first rate, or that other work has disturbed in every attempt, ends it.
        """
        condition = result.cell.condition
        if was_disturbed(result) or (result.failure is not None and search.answers == 0):
            reason = result.invalid or result.failure
            rate = f"{condition.rate_hz:.4g} frames/s"
            self.on_note(f"search for the maximum of {condition.engine} ended at {rate}: {reason}")
            return False
        search.add(condition.rate_hz, result.is_usable and result.kept_up)
        return True

    def _overload(self) -> Generator[PlannedCell, CellResult]:
        for model, replicas in self._grid():
            conditions: list[Condition] = []
            for engine in self.plan.engines:
                key = (model, replicas, engine)
                maximum_hz = self._maxima.get(key)
                # The highest rate of a search that was ended is only a lower bound, and 1.5 times that no overload.
                if maximum_hz is None or key not in self._complete:
                    self.on_note(f"overload of {engine} with {model} skipped: its maximum is unknown")
                    continue
                rate_hz = round(OVERLOAD * maximum_hz, 1)
                conditions.append(self._condition("overload", engine, model, rate_hz, replicas=replicas))
            yield from _run(conditions, 1)

    def _recovery(self) -> Generator[PlannedCell, CellResult]:
        for model, replicas in self._grid():
            rate_hz = self._recovery_rate_hz(model, replicas)
            conditions = [
                self._condition("recovery", engine, model, rate_hz, replicas=replicas) for engine in self.plan.engines
            ]
            yield from _run(conditions, self.plan.repetitions)

    def _noise(self) -> Generator[PlannedCell, CellResult]:
        model, replicas = self.plan.models[0], self.plan.replicas[0]
        rates_hz = sorted(self.plan.rates_hz)
        rate_hz = rates_hz[(len(rates_hz) - 1) // 2]
        for engine in self.plan.engines:
            a = self._condition("noise", engine, model, rate_hz, replicas=replicas).model_copy(update={"side": "A"})
            yield from _run([a, a.model_copy(update={"side": "B"})], self.plan.noise_repetitions)

    def _recovery_rate_hz(self, model: str, replicas: int) -> float:
        """Return half of the lowest maximum, so that every engine can clear its backlog, at most the highest load."""
        maxima = [self._maxima.get((model, replicas, engine)) for engine in self.plan.engines]
        known = [maximum_hz for maximum_hz in maxima if maximum_hz is not None]
        return min(max(self.plan.rates_hz), round(min(known) / 2, 1)) if known else min(self.plan.rates_hz)

    def _search(self) -> RateSearch:
        start_hz = min(MAX_RATE_HZ, max(MIN_RATE_HZ, self.plan.top_rate_hz))
        confirmations = self.plan.confirmations
        return RateSearch(start_hz, MIN_RATE_HZ, MAX_RATE_HZ, self.plan.tolerance, confirmations=confirmations)

    def _grid(self) -> list[tuple[str, int]]:
        return [(model, replicas) for model in self.plan.models for replicas in self.plan.replicas]

    def _condition(
        self,
        part: Part,
        engine: Engine,
        model: str,
        rate_hz: float,
        *,
        replicas: int = 1,
        setting: EngineSetting | None = None,
    ) -> Condition:
        return Condition(
            part=part,
            engine=engine,
            rate_hz=rate_hz,
            shape=self.shapes[model],
            model=model,
            replicas=replicas,
            setting=setting or self._chosen.get((engine, model), EngineSetting()),
            duration_s=self.plan.duration_of(part),
            warm_up_s=self.plan.warm_up_s,
            stitch=self.plan.stitch,
        )


def _run(conditions: Sequence[Condition], repetitions: int) -> Generator[PlannedCell, CellResult, list[CellResult]]:
    """Yield the conditions, interleaved, and return their results."""
    results: list[CellResult] = []
    for condition, repetition in interleaved(conditions, repetitions):
        results.append((yield PlannedCell(condition, repetition)))
    return results
