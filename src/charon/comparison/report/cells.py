"""Tables of all cells, and of those that were excluded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.bokeh.markup import Html, element, join, table
from charon.comparison.report import text
from charon.comparison.report.names import ENGINES, distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.comparison.evaluation import Evaluation
    from charon.comparison.model import CellResult

_HEADER = (
    "Cell",
    "Part",
    "Engine",
    "Model",
    "Replicas",
    "Batch, threads, queue",
    "Offered (frames/s)",
    "Processed (frames/s)",
    "p50 (ms)",
    "p99 (ms)",
    "Without result",
    "Duplicates",
    "Drain (s)",
    "CPU (ms/frame)",
    "Memory (MiB)",
    "Other work (cores)",
    "Start (UTC)",
    "State",
)
_MAX_NAMES = 10
_NUMERIC = (0, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)


def excluded(evaluation: Evaluation, problems: Sequence[str]) -> Html:
    """Return the lists of excluded results and of parts that were not measured, with their reasons."""
    unusable = [
        f"cell {_name(cell.result)}, {_what(cell.result)}: {cell.kind}: {cell.reason}" for cell in evaluation.excluded
    ]
    missing = [
        f"{reason} ({', '.join(_engines(evaluation, reason))})" for reason in distinct(evaluation.missing.values())
    ]
    return join(
        [
            *_listed(f"Excluded from all figures ({len(unusable)}):", unusable),
            *_listed("Files that cannot be read:", problems),
            *_listed("Not measured:", missing),
            *([] if unusable or problems else [element("p", "Every result is valid.")]),
        ]
    )


def _engines(evaluation: Evaluation, reason: str) -> list[str]:
    return [ENGINES[engine].title for (_, engine), found in evaluation.missing.items() if found == reason]


def _listed(title: str, lines: Sequence[str]) -> list[Html]:
    return [element("p", title), element("ul", *(element("li", line) for line in lines))] if lines else []


def cells(results: Sequence[CellResult]) -> Html:
    """Return the table of all cells, with their notes."""
    notes = [element("li", line) for line in _notes(results)]
    return join(
        [
            element(
                "details",
                element("summary", f"All {len(results)} results"),
                table(_HEADER, [_row(result) for result in results], numeric=_NUMERIC, name="dense"),
            ),
            *([element("details", element("summary", "Notes"), element("ul", *notes))] if notes else []),
        ]
    )


def _notes(results: Sequence[CellResult]) -> list[str]:
    """Return each note once, with its cells."""
    names: dict[str, list[str]] = {}
    for result in results:
        for note in result.notes:
            names.setdefault(note, []).append(_name(result))
    return [f"{note} ({_which(found, len(results))})" for note, found in names.items()]


def _which(names: Sequence[str], count: int) -> str:
    if len(names) == count > 1:
        return "every result"
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"cell{'s' if len(names) > 1 else ''} {'; '.join(names[:_MAX_NAMES])}{more}"


def _row(result: CellResult) -> list[str]:
    condition, counts = result.cell.condition, result.counts
    latency = result.latency_ms.get("result")
    setting = condition.setting
    return [
        _name(result),
        f"{condition.part} {condition.side}".strip(),
        ENGINES[condition.engine].title,
        condition.model,
        str(condition.replicas),
        f"{setting.batch}, {setting.threads or 'default'}, {setting.queue_size}",
        text.number(result.offered_hz if result.offered_hz is not None else condition.rate_hz, 4),
        text.number(result.processed_hz, 4),
        text.number(latency.p50 if latency else None),
        text.number(latency.p99 if latency else None),
        f"{counts.without_result:,}" if counts else text.ABSENT,
        f"{counts.duplicates:,}" if counts else text.ABSENT,
        text.number(result.drain_s),
        text.number(result.cpu_ms_per_frame),
        text.number(result.rss_max_bytes / 2**20 if result.rss_max_bytes else None),
        text.number(result.other_cpu, 2),
        text.utc(result.started_ns).removesuffix(" UTC"),
        _state(result),
    ]


def _name(result: CellResult) -> str:
    return f"{result.cell.number}" if result.attempt == 1 else f"{result.cell.number}, attempt {result.attempt}"


def _what(result: CellResult) -> str:
    condition = result.cell.condition
    return f"{condition.part}, {ENGINES[condition.engine].title}, {text.frame_rate(condition.rate_hz)}"


def _state(result: CellResult) -> str:
    if result.failure is not None:
        return "failed"
    if result.invalid is not None:
        return "invalid"
    return "kept up" if result.kept_up else "did not keep up"
