"""The verdict of a comparison in sentences made from its figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from charon.comparison.report import text
from charon.comparison.report.names import ENGINES, count_replicas
from charon.comparison.report.ratios import better

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from charon.comparison.evaluation import Evaluation, LoadRow, MaximumRow, OverloadRow, RecoveryRow
    from charon.comparison.model import Engine

_MIN_ADVANTAGE = 1.05  # smaller ratios are within the noise that A/A measurements accept

_MIN_RATE_ADVANTAGE = 1.1  # bisection ends at a tolerance of some per cent
_NOT_COMPARED = "The engines cannot be compared: no cell of the parts load, maximum, overload and recovery is valid"
_Row = TypeVar("_Row", bound="OverloadRow")


def verdict(evaluation: Evaluation) -> list[tuple[str, str]]:
    """Return (topic, one to three sentences); topics that were not measured are omitted."""
    lines = [
        ("Latency", _latency(evaluation)),
        ("Rate", _rate(evaluation)),
        ("Overload", _overload(evaluation)),
        ("Crash", _recovery(evaluation)),
    ]
    found = [(topic, sentences) for topic, sentences in lines if sentences]
    if not found:
        return [("Result", f"{_NOT_COMPARED}. See the invalid and failed cells.")]
    choice = _choice(evaluation)
    return [*found, *([("Choice", choice)] if choice else [])]


def reference_load(evaluation: Evaluation) -> LoadRow | None:
    """Return the load with the highest rate at which all engines kept up; if there is none, the lowest rate.

    Among set-ups, the first model with the smallest number of replicas.
    """
    rows = [row for row in evaluation.load if len(row.engines) == len(evaluation.engines)] or list(evaluation.load)
    if not rows:
        return None
    model, replicas = rows[0].model, min(row.replicas for row in rows if row.model == rows[0].model)
    rows = [row for row in rows if (row.model, row.replicas) == (model, replicas)]
    kept_up = [row for row in rows if all(engine.kept_up for engine in row.engines)]
    return max(kept_up, key=lambda row: row.rate_hz) if kept_up else min(rows, key=lambda row: row.rate_hz)


def first_maximum(evaluation: Evaluation, engine: Engine) -> MaximumRow | None:
    """Return the highest loss-free rate of an engine with the set-up of `reference_load`.

    If no engine has one with that set-up, with the smallest number of replicas of all engines: rates of different
    set-ups cannot be compared.
    """
    load, rows = reference_load(evaluation), evaluation.maximum
    if load is not None:
        rows = tuple(row for row in rows if (row.model, row.replicas) == (load.model, load.replicas)) or rows
    first = min(rows, key=lambda row: row.replicas, default=None)
    same = [row for row in rows if first and (row.model, row.replicas) == (first.model, first.replicas)]
    return next((row for row in same if row.engine == engine), None)


def _latency(evaluation: Evaluation) -> str:
    row = reference_load(evaluation)
    if row is None:
        return ""
    values = {
        engine.engine: f"{text.milliseconds(engine.values['p50_result_ms'])} for {ENGINES[engine.engine].phrase} "
        f"(p99 {text.milliseconds(engine.values.get('p99_result_ms'))})"
        for engine in row.engines
        if "p50_result_ms" in engine.values
    }
    if not values:
        return ""
    rate = f"At {text.frame_rate(row.rate_hz)} ({_set_up(row)}){_which(evaluation, row)}"
    sentences = [
        f"{rate}, the median latency is {text.listing([*values.values()])}.",
        *(
            f"{_capital(ENGINES[engine].phrase)} has no valid latency at this rate."
            for engine in evaluation.engines
            if engine not in values
        ),
        _faster(evaluation, row),
    ]
    return " ".join(filter(None, sentences))


def _which(evaluation: Evaluation, row: LoadRow) -> str:
    if not all(engine.kept_up for engine in row.engines):
        return ", a rate at which not every engine kept up"
    if len(row.engines) < len(evaluation.engines):
        return ""
    return ", the highest measured rate at which every engine kept up"


def _faster(evaluation: Evaluation, row: LoadRow) -> str:
    sentences: list[str] = []
    reference = ENGINES[evaluation.reference].phrase
    for other, ratios in row.ratios.items():
        value = ratios.get("p50_result_ms")
        if value is None:
            continue
        name = ENGINES[other].phrase
        best = better(evaluation, "p50_result_ms", other, value)
        if best is None:
            interval = text.interval(value)
            result = "is not significant" if interval else "cannot be judged from one repetition"
            details = f"ratio {text.factor(value.value)}" + (f", 95 % interval {interval}" if interval else "")
            sentences.append(f"The difference between {reference} and {name} {result} ({details}).")
            continue
        slower, factor = (reference, value) if best == other else (name, value)
        low, high = factor.low or 0.0, factor.high or 0.0
        times = (factor.value, low, high) if best == other else (1 / factor.value, 1 / high, 1 / low)
        value_text, low_text, high_text = map(text.factor, times)
        sentences.append(
            f"{_capital(ENGINES[best].phrase)} is faster: the latency of {slower} is {value_text} times as long "
            f"(95 % interval {low_text} to {high_text})."
        )
    return " ".join(sentences)


def _rate(evaluation: Evaluation) -> str:
    rows = [row for engine in evaluation.engines if (row := first_maximum(evaluation, engine)) is not None]
    values = [f"{text.limit(row)} frames/s for {ENGINES[row.engine].phrase}" for row in rows]
    if not values:
        return ""
    load = reference_load(evaluation)
    cpu = [
        f"{text.milliseconds(engine.values['cpu_ms_per_frame'])} for {ENGINES[engine.engine].phrase}"
        for engine in (load.engines if load else ())
        if "cpu_ms_per_frame" in engine.values
    ]
    cost = f" The CPU time per frame is {text.listing(cpu)}." if cpu else ""
    return f"The highest loss-free rate is {text.listing(values)} ({_set_up(rows[0])}).{cost}"


def _overload(evaluation: Evaluation) -> str:
    rows = _first_rows(evaluation, evaluation.overload)
    parts = [
        f"{text.loss(row.counts)} for {ENGINES[row.engine].phrase}"
        + (f", drained in {text.seconds(row.drain_s)}" if row.drain_s and not row.counts.without_result else "")
        for row in rows
    ]
    rate = "1.5 times the engine's own highest loss-free rate"
    return f"Frames without a result at {rate}: {'; '.join(parts)}." if parts else ""


def _recovery(evaluation: Evaluation) -> str:
    rows = _first_rows(evaluation, evaluation.recovery)
    if not rows:
        return ""
    losses = [f"{text.loss(row.counts)} for {ENGINES[row.engine].phrase}" for row in rows]
    times = [
        f"{text.seconds(row.recovered_s)} for {ENGINES[row.engine].phrase}"
        for row in rows
        if row.recovered_s is not None
    ]
    sentences = [
        f"Frames without a result after SIGKILL of an inference worker: {'; '.join(losses)}.",
        *([f"Results arrived at the offered rate again after {text.listing(times)}."] if times else []),
        *(_not_recovered(row) for row in rows if row.recovered_s is None),
    ]
    return " ".join(sentences)


def _not_recovered(row: RecoveryRow) -> str:
    return (
        f"The rate of {ENGINES[row.engine].phrase} did not recover in "
        f"{row.not_recovered} of {row.repetitions} repetitions."
    )


def _first_rows(evaluation: Evaluation, rows: Iterable[_Row]) -> list[_Row]:
    load = reference_load(evaluation)
    own = [row for row in rows if load is None or row.model == load.model]
    # Rows with different numbers of replicas cannot be compared.
    replicas = min((row.replicas for row in own), default=0)
    found: dict[Engine, _Row] = {}
    for row in own:
        if row.replicas == replicas:
            found.setdefault(row.engine, row)
    return [found[engine] for engine in evaluation.engines if engine in found]


def _choice(evaluation: Evaluation) -> str:
    advantages = _advantages(evaluation)
    choices = [
        f"choose {ENGINES[engine].phrase} for {text.listing(reasons)}"
        for engine in evaluation.engines
        if (reasons := [reason for reason, engines in advantages.items() if engine in engines])
    ]
    if not choices:
        return _without_choice(evaluation)
    return f"{_capital('; '.join(choices))}."


def _without_choice(evaluation: Evaluation) -> str:
    if len(evaluation.engines) < 2:
        return ""
    measured = {engine.engine for row in evaluation.load for engine in row.engines}
    measured |= {row.engine for row in (*evaluation.maximum, *evaluation.overload, *evaluation.recovery)}
    missing = [ENGINES[engine].phrase for engine in evaluation.engines if engine not in measured]
    if missing:
        return f"No choice is possible without valid results of {text.listing(missing)}."
    return "No measured figure differs significantly between the engines."


def _advantages(evaluation: Evaluation) -> dict[str, list[Engine]]:
    """Return the engines that have an advantage over at least one other, by advantage."""
    load = reference_load(evaluation)
    maxima = [row for engine in evaluation.engines if (row := first_maximum(evaluation, engine)) is not None]
    candidates: dict[str, list[Engine]] = {
        "no loss at overload": _without_loss(_first_rows(evaluation, evaluation.overload)),
        "no loss after a crash": _without_loss(_first_rows(evaluation, evaluation.recovery)),
        "a higher loss-free rate": _highest(maxima),
        "a lower latency": _best(evaluation, load, "p50_result_ms"),
        "less CPU time per frame": _best(evaluation, load, "cpu_ms_per_frame"),
        "less memory": _best(evaluation, load, "rss_max_bytes"),
    }
    return {reason: engines for reason, engines in candidates.items() if engines}


def _without_loss(rows: Iterable[OverloadRow]) -> list[Engine]:
    lost: dict[Engine, int] = {row.engine: row.counts.without_result for row in rows}
    without: list[Engine] = [engine for engine, frames in lost.items() if not frames]
    return without if any(lost.values()) else []


def _highest(rows: Sequence[MaximumRow]) -> list[Engine]:
    rates_hz: dict[Engine, float] = {row.engine: row.loss_free_hz for row in rows if row.loss_free_hz is not None}
    best_hz = max(rates_hz.values(), default=0.0)
    # An engine with only a bound may be faster than all others.
    is_open = any(row.is_bound for row in rows if row.loss_free_hz != best_hz)
    if len(rates_hz) < 2 or is_open or best_hz <= _MIN_RATE_ADVANTAGE * min(rates_hz.values()):
        return []
    return [engine for engine, rate_hz in rates_hz.items() if rate_hz == best_hz]


def _best(evaluation: Evaluation, row: LoadRow | None, key: str) -> list[Engine]:
    if row is None:
        return []
    engines: list[Engine] = []
    for other, ratios in row.ratios.items():
        value = ratios.get(key)
        best = better(evaluation, key, other, value)
        if value and abs(math.log(value.value)) < math.log(_MIN_ADVANTAGE):
            continue
        if best and best not in engines:
            engines.append(best)
    return engines


def _set_up(row: LoadRow | MaximumRow) -> str:
    return f"{row.model}, {count_replicas(row.replicas)}"


def _capital(phrase: str) -> str:
    return phrase[:1].upper() + phrase[1:]
