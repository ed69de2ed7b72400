"""The two tables of the guide, with a measured figure in each cell."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from charon.adapters.bokeh.markup import Html, element, join, merge_first, table
from charon.comparison.report import text
from charon.comparison.report.names import ENGINES, count_replicas, distinct, process_kind
from charon.comparison.report.verdict import first_maximum, reference_load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from charon.comparison.evaluation import EngineRow, Evaluation, LoadRow, MaximumRow, OverloadRow
    from charon.comparison.model import CellResult, Engine, Machine

_Row = TypeVar("_Row", bound="OverloadRow")

_NOT_MEASURED = "not measured"


def differences(evaluation: Evaluation, results: Iterable[CellResult]) -> Html:
    """Return the table of differences: the guide's description, and what was measured."""
    usable = [result for result in results if result.is_usable]
    rows: list[tuple[str, Callable[[Engine], str]]] = [
        ("Architecture", lambda engine: _architecture(_loaded(evaluation, engine))),
        ("Message coordination", lambda engine: _coordination(evaluation, engine)),
        ("Scaling", lambda engine: _scaled(evaluation, engine)),
        ("Monitoring", lambda engine: _account(engine, usable)),
        ("Data flow", lambda engine: _delivery(evaluation, engine)),
        ("Resource management", lambda engine: _memory(_loaded(evaluation, engine))),
    ]
    header = ["Aspect", *(ENGINES[engine].title for engine in evaluation.engines)]
    return table(
        header,
        [
            [
                aspect,
                *(
                    join(
                        [element("div", ENGINES[engine].guide[aspect], class_="soft"), element("div", measure(engine))]
                    )
                    for engine in evaluation.engines
                ),
            ]
            for aspect, measure in rows
        ],
        name="guide",
    )


def indicators(evaluation: Evaluation, machine: Machine) -> Html:
    """Return the table of performance indicators, with the ratio of the reference engine to each other."""
    others: list[Engine] = [engine for engine in evaluation.engines if engine != evaluation.reference]
    header = ["Indicator", "Figure", *(ENGINES[engine].title for engine in evaluation.engines)]
    header += ["Ratio" if len(others) == 1 else f"Ratio to {ENGINES[other].title}" for other in others]
    blank = [text.ABSENT] * len(others)
    gpu = f"{', '.join(machine.gpus)}: not measured" if machine.gpus else "no GPU"
    replicas = _all_replicas(evaluation) or [1]
    counts = ", ".join([*map(str, replicas[:-1]), count_replicas(replicas[-1])])
    rows = [
        [
            "Throughput",
            "highest loss-free rate (frames/s)",
            *_each(evaluation, _maximum),
            *(_rates(evaluation, other) for other in others),
        ],
        *_load_rows(evaluation, others),
        ["Resource utilization", "GPU", *[gpu] * len(evaluation.engines), *blank],
        ["Reliability", "frames without a result at overload", *_each(evaluation, _lost_at_overload), *blank],
        ["Reliability", "frames without a result after SIGKILL", *_each(evaluation, _lost_after_kill), *blank],
        [
            "Scalability",
            f"loss-free rate with {counts} (frames/s)",
            *_each(evaluation, _replicas),
            *blank,
        ],
        [
            "Scalability",
            "latency p50 (ms) at the lowest and highest rate at which it kept up",
            *_each(evaluation, _growth),
            *blank,
        ],
    ]
    return table(header, merge_first(rows), numeric=range(2, len(header)), name="guide")


def _load_rows(evaluation: Evaluation, others: list[Engine]) -> list[list[str]]:
    load = reference_load(evaluation)
    if load is None:
        blank = [text.ABSENT] * len(others)
        return [["Latency", "p50, p99 to result (ms)", *[_NOT_MEASURED] * len(evaluation.engines), *blank]]
    rate = text.frame_rate(load.rate_hz)
    kinds = [
        ("Latency", f"{quantile} to {stage} (ms), at {rate}", f"{quantile}_{stage}_ms", 1.0)
        for stage in ("result", "stitched")
        for quantile in ("p50", "p99")
    ]
    kinds.append(("Resource utilization", f"CPU time per frame (ms), at {rate}", "cpu_ms_per_frame", 1.0))
    kinds.append(("Resource utilization", f"maximum memory (MiB), at {rate}", "rss_max_bytes", 2.0**-20))
    return [
        [
            aspect,
            label,
            *(_value(load, engine, key, factor) for engine in evaluation.engines),
            *(text.ratio(load.ratios.get(other, {}).get(key)) for other in others),
        ]
        for aspect, label, key, factor in kinds
        if any(key in row.values for row in load.engines)
    ]


def _value(load: LoadRow, engine: Engine, key: str, factor: float) -> str:
    found = [row.values[key] for row in load.engines if row.engine == engine and key in row.values]
    return text.number(found[0] * factor) if found else _NOT_MEASURED


def _each(evaluation: Evaluation, measure: Callable[[Evaluation, Engine], str]) -> list[str]:
    return [measure(evaluation, engine) for engine in evaluation.engines]


def _loaded(evaluation: Evaluation, engine: Engine) -> EngineRow | None:
    load = reference_load(evaluation)
    return next((row for row in load.engines if row.engine == engine), None) if load else None


def _maximum(evaluation: Evaluation, engine: Engine) -> str:
    row = first_maximum(evaluation, engine)
    return _NOT_MEASURED if row is None else text.limit(row)


def _rates(evaluation: Evaluation, other: Engine) -> str:
    found = [first_maximum(evaluation, engine) for engine in (evaluation.reference, other)]
    rows = [(row.loss_free_hz, row.is_bound) for row in found if row is not None and row.loss_free_hz]
    if len(rows) < 2 or all(is_bound for _, is_bound in rows):
        return text.ABSENT
    (rate_hz, is_lower), (other_hz, is_upper) = rows
    return f"{'at least ' if is_lower else 'at most ' if is_upper else ''}{rate_hz / other_hz:.2f}"


def _architecture(row: EngineRow | None) -> str:
    if row is None or not row.results[0].processes:
        return _NOT_MEASURED
    names = [process.name for process in row.results[0].processes]
    cpu = row.values.get("cpu_ms_per_frame")
    cost = "" if cpu is None else f"; {text.milliseconds(cpu)} of CPU time per frame"
    return f"{len(names)} processes ({', '.join(distinct(map(process_kind, names)))}){cost}"


def _coordination(evaluation: Evaluation, engine: Engine) -> str:
    row = _loaded(evaluation, engine)
    parts: list[str] = []
    if row is not None and "p50_result_ms" in row.values:
        rate = text.frame_rate(row.results[0].cell.condition.rate_hz)
        parts.append(f"frame to result in {text.milliseconds(row.values['p50_result_ms'])} (p50) at {rate}")
    parts += [
        f"drained in {text.seconds(found.drain_s)} after overload" for found in _rows(evaluation.overload, engine)
    ]
    return "; ".join(parts) or _NOT_MEASURED


def _scaled(evaluation: Evaluation, engine: Engine) -> str:
    rows = _scaling(evaluation, engine)
    rates = [f"{text.limit(row)} frames/s with {count_replicas(row.replicas)}" for row in rows]
    return ", ".join(rates) or _NOT_MEASURED


def _replicas(evaluation: Evaluation, engine: Engine) -> str:
    rates = {row.replicas: text.limit(row) for row in _scaling(evaluation, engine)}
    if not rates:
        return _NOT_MEASURED
    return ", ".join(rates.get(replicas, _NOT_MEASURED) for replicas in _all_replicas(evaluation))


def _all_replicas(evaluation: Evaluation) -> list[int]:
    rows = [row for engine in evaluation.engines for row in _scaling(evaluation, engine)]
    return sorted({row.replicas for row in rows})


def _scaling(evaluation: Evaluation, engine: Engine) -> list[MaximumRow]:
    firsts = [row for name in evaluation.engines if (row := first_maximum(evaluation, name)) is not None]
    rows = [row for row in evaluation.maximum if firsts and (row.engine, row.model) == (engine, firsts[0].model)]
    return sorted(rows, key=lambda row: row.replicas)


def _growth(evaluation: Evaluation, engine: Engine) -> str:
    load = reference_load(evaluation)
    rows = [
        (found.rate_hz, row.values["p50_result_ms"])
        for found in sorted(evaluation.load, key=lambda found: found.rate_hz)
        if load and (found.model, found.replicas) == (load.model, load.replicas)
        for row in found.engines
        if row.engine == engine and row.kept_up and "p50_result_ms" in row.values
    ]
    ends = rows[:1] + rows[1:][-1:]
    return ", ".join(f"{text.number(value)} at {text.rate_number(rate)}" for rate, value in ends) or _NOT_MEASURED


def _account(engine: Engine, usable: Iterable[CellResult]) -> str:
    counts = [result.counts for result in usable if result.cell.condition.engine == engine and result.counts]
    published = sum(count.published for count in counts)
    if not published:
        return _NOT_MEASURED
    missed = sum(count.missed for count in counts)
    return f"its frame logs contain {published - missed:,} of {published:,} published frames"


def _delivery(evaluation: Evaluation, engine: Engine) -> str:
    parts: list[str] = []
    for name, rows in (("at overload", evaluation.overload), ("after SIGKILL", evaluation.recovery)):
        parts += [f"{text.loss(row.counts, 'frames')} without a result {name}" for row in _rows(rows, engine)]
        parts += [f"{row.counts.duplicates} duplicates" for row in _rows(rows, engine) if row.counts.duplicates]
    return "; ".join(parts) or _NOT_MEASURED


def _memory(row: EngineRow | None) -> str:
    if row is None or not row.results[0].processes or "rss_max_bytes" not in row.values:
        return _NOT_MEASURED
    largest = max(row.results[0].processes, key=lambda process: process.rss_max_bytes)
    total = text.mebibytes(row.values["rss_max_bytes"])
    return f"{total} in all; the largest process is {largest.name} with {text.mebibytes(largest.rss_max_bytes)}"


def _lost_at_overload(evaluation: Evaluation, engine: Engine) -> str:
    return "; ".join(text.loss(row.counts) for row in _rows(evaluation.overload, engine)) or _NOT_MEASURED


def _lost_after_kill(evaluation: Evaluation, engine: Engine) -> str:
    return "; ".join(text.loss(row.counts) for row in _rows(evaluation.recovery, engine)) or _NOT_MEASURED


def _rows(rows: Sequence[_Row], engine: Engine) -> list[_Row]:
    """Return the row of an engine with the fewest replicas of all rows, or nothing."""
    replicas = min((row.replicas for row in rows), default=0)
    return [row for row in rows if (row.engine, row.replicas) == (engine, replicas)][:1]
