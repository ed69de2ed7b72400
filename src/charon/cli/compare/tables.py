"""Tables of the main figures for the terminal; the report has all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from charon.comparison.evaluation import MaximumRow, OverloadRow, RecoveryRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from charon.comparison.evaluation import (
        EngineRow,
        Evaluation,
        LoadRow,
        SideBySide,
    )
    from charon.comparison.model import Engine
    from charon.comparison.statistics import Ratio

_Row = TypeVar("_Row", MaximumRow, OverloadRow, RecoveryRow)

_MIB = 2**20
_FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "p50_result_ms": ("latency p50 (ms)", "{:.3g}".format),
    "p99_result_ms": ("latency p99 (ms)", "{:.3g}".format),
    "p50_stitched_ms": ("latency to the image p50 (ms)", "{:.3g}".format),
    "p99_stitched_ms": ("latency to the image p99 (ms)", "{:.3g}".format),
    "cpu_ms_per_frame": ("CPU time per frame (ms)", "{:.3g}".format),
    "rss_max_bytes": ("memory (MiB)", lambda value: f"{value / _MIB:.0f}"),
    "loss_free_hz": ("highest loss-free rate (frames/s)", "{:.4g}".format),
    "processed_hz": ("processed (frames/s)", "{:.4g}".format),
}
_LOAD_FIGURES = ("p50_result_ms", "p99_result_ms", "p50_stitched_ms", "p99_stitched_ms", "cpu_ms_per_frame")


def figures_table(evaluation: Evaluation) -> str:
    """Return the main figures of a comparison, one column per engine, and the ratios of the reference to the others."""
    others: list[Engine] = [engine for engine in evaluation.engines if engine != evaluation.reference]
    rows = [["", *evaluation.engines, *(f"{evaluation.reference} / {other}" for other in others)]]
    for row in evaluation.load:
        rows += _load_rows(row, evaluation.engines, others)
    rows += _part_rows("highest loss-free rate", evaluation.maximum, evaluation.engines, _MAXIMUM)
    rows += _part_rows(
        "overload, 1.5 times the highest loss-free rate", evaluation.overload, evaluation.engines, _OVERLOAD
    )
    rows += _part_rows("SIGKILL of an inference worker", evaluation.recovery, evaluation.engines, _RECOVERY)
    text = _aligned(rows) if len(rows) > 1 else "no part has a valid result\n"
    return text + _noise_line(evaluation)


def side_by_side_table(found: SideBySide) -> str:
    """Return the figures of two comparisons under equal conditions, and their ratio."""
    rows = [["", "A", "B", "A / B (95 % interval)"]]
    heading = None
    for row in found.rows:
        condition = row.condition
        named = f"{condition.engine}, {_load(condition.model, condition.replicas)}"
        if row.key != "loss_free_hz":
            named += f", {condition.rate_hz:g} frames/s"
        if named != heading:
            rows.append([f"{named}:" if row.same_setting else f"{named} (different settings):"])
            heading = named
        label, show = _FIGURES.get(row.key, (row.key, "{:.4g}".format))
        rows.append([f"  {label}", show(row.a), show(row.b), ratio_text(row.ratio)])
    return _aligned(rows) if found.rows else "the two comparisons have no condition with valid results in common\n"


def ratio_text(ratio: Ratio | None) -> str:
    """Return a ratio with its interval, such as ``1.23 (1.10 to 1.37)``."""
    if ratio is None:
        return "-"
    if ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}"
    return f"{ratio.value:.2f} ({ratio.low:.2f} to {ratio.high:.2f})"


def _load_rows(row: LoadRow, engines: Iterable[Engine], others: Iterable[Engine]) -> list[list[str]]:
    found: dict[Engine, EngineRow] = {engine.engine: engine for engine in row.engines}
    rows = [[f"{row.rate_hz:g} frames/s, {_load(row.model, row.replicas)}:"]]
    rows.append(["  frames without a result", *(_losses(found.get(engine)) for engine in engines)])
    for key in (*_LOAD_FIGURES, "rss_max_bytes"):
        label, show = _FIGURES[key]
        values = [found[engine].values.get(key) if engine in found else None for engine in engines]
        if any(value is not None for value in values):
            ratios = [ratio_text(row.ratios.get(other, {}).get(key)) for other in others]
            rows.append([f"  {label}", *("-" if value is None else show(value) for value in values), *ratios])
    return rows


def _losses(row: EngineRow | None) -> str:
    if row is None:
        return "-"
    behind = "" if row.kept_up else ", did not keep up"
    return f"{row.counts.without_result} of {row.counts.published}{behind}"


def _part_rows(
    part: str, rows: Sequence[_Row], engines: Iterable[Engine], figures: dict[str, Callable[[_Row], str]]
) -> list[list[str]]:
    """Return a heading and the figures of each load."""
    by_load: dict[str, dict[Engine, _Row]] = {}
    for row in rows:
        by_load.setdefault(_load(row.model, row.replicas), {})[row.engine] = row
    lines: list[list[str]] = []
    for load, found in by_load.items():
        lines.append([f"{part}, {load}:"])
        for label, show in figures.items():
            lines.append([f"  {label}", *(show(found[engine]) if engine in found else "-" for engine in engines)])
    return lines


def _loss_free(row: MaximumRow) -> str:
    if row.loss_free_hz is None:
        return "-" if row.lossy_hz is None else f"below {row.lossy_hz:.4g}"
    return f"at least {row.loss_free_hz:.4g}" if row.is_bound else f"{row.loss_free_hz:.4g}"


def _without_result(row: OverloadRow) -> str:
    return f"{row.counts.without_result} of {row.counts.published}"


def _seconds(value_s: float | None) -> str:
    return "-" if value_s is None else f"{value_s:.2g}"


_MAXIMUM: dict[str, Callable[[MaximumRow], str]] = {"frames/s": _loss_free}
_OVERLOAD: dict[str, Callable[[OverloadRow], str]] = {
    "frames/s": lambda row: f"{row.rate_hz:.4g}",
    "frames without a result": _without_result,
    "drain (s)": lambda row: _seconds(row.drain_s),
}
_RECOVERY: dict[str, Callable[[RecoveryRow], str]] = {
    "frames/s": lambda row: f"{row.rate_hz:.4g}",
    "frames without a result": _without_result,
    "rate recovered after (s)": lambda row: _seconds(row.recovered_s),
    "backlog cleared after (s)": lambda row: _seconds(row.backlog_cleared_s),
}


def _noise_line(evaluation: Evaluation) -> str:
    rows = [row for row in evaluation.noise if row.key in _FIGURES]
    if not rows:
        return ""
    near = sum(row.within_5_percent for row in rows)
    line = f"noise (A/A): {near} of {len(rows)} ratios within 5 % of 1"
    intervals = [row for row in rows if row.ratio.covers_1 is not None]
    if intervals:
        line += f"; {sum(row.covers_1 for row in intervals)} of {len(intervals)} intervals cover 1"
    return f"{line}\n"


def _load(model: str, replicas: int) -> str:
    return model if replicas == 1 else f"{model}, {replicas} replicas"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows in columns; a heading, which has only a first column, does not widen it."""
    columns = max(len(row) for row in rows)
    widths = [max((len(row[k]) for row in rows if len(row) > max(k, 1)), default=0) for k in range(columns)]
    lines = ["  ".join(cell.ljust(widths[k]) for k, cell in enumerate(row)).rstrip() for row in rows]
    return "\n".join(lines) + "\n"
