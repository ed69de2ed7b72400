"""Display of the baseline's state: a live table for terminals, plain lines for pipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from charon.engines.pvapy.engine import BaselineSnapshot
    from charon.engines.pvapy.stitch_account import StitchAccount

_MAX_MESSAGES = 3


def baseline_table(title: str, snapshot: BaselineSnapshot, messages: Sequence[str]) -> RenderableType:
    """Return the live table."""
    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("frames/s", "queued", "processed", "missed", "lost", "rejected", "duplicates", "p50", "p99"):
        table.add_column(heading, justify="right")
    figures, latency = snapshot.figures, snapshot.figures.latency.summary
    cells = [
        f"{figures.rate_hz:.0f}",
        f"{figures.queued:,}",
        f"{figures.processed:,}",
        f"{figures.missed or 0:,}",
        f"{figures.lost or 0:,}",
        f"{sum(figures.rejected.values()):,}",
        f"{figures.duplicates:,}",
        _milliseconds(latency.p50),
        _milliseconds(latency.p99),
    ]
    if figures.stitched is not None:
        table.add_column("stitched", justify="right")
        cells.append(f"{figures.stitched:,}")
    table.add_row(*cells)
    warnings = [Text(f"! {line}", style="yellow") for line in messages[-_MAX_MESSAGES:]]
    return Group(Text(title, style="bold"), table, *warnings)


def baseline_lines(title: str, snapshot: BaselineSnapshot) -> list[str]:
    """Return the state as lines of text, the first with the title."""
    figures, latency = snapshot.figures, snapshot.figures.latency.summary
    reasons = ", ".join(f"{n} {reason}" for reason, n in sorted(figures.rejected.items()))
    account = [
        f"published {snapshot.account.published:,}",
        f"processed {figures.processed:,}",
        f"missed {figures.missed or 0:,}",
        f"lost {figures.lost or 0:,}",
        f"rejected {sum(figures.rejected.values()):,}" + (f" ({reasons})" if reasons else ""),
        f"duplicates {figures.duplicates:,}",
    ]
    if figures.stitched is not None:
        account.append(f"stitched {figures.stitched:,}")
    lines = [f"{title}: {figures.rate_hz:.0f} frames/s, {figures.queued:,} queued", "  ".join(account)]
    if latency.count:
        p50, p99 = _milliseconds(latency.p50), _milliseconds(latency.p99)
        lines.append(f"latency from detector to published result: p50 {p50}, p99 {p99}")
    return lines


def stitching_line(account: StitchAccount) -> str:
    """Return the account of the patches; before the end, results that are being delivered would count as missed."""
    return "  ".join(f"{name.replace('_', ' ')} {n:,}" for name, n in account.to_json().items())


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} ms"
