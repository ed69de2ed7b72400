"""Display of a run's state: a live table for terminals, plain lines for pipes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from charon.engines.manifest import edge_name
from charon.ledger.pages import waiting_in_rings
from charon.ledger.states import VertexState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import RenderableType

    from charon.engines.embedded import Snapshot
    from charon.ledger.account import Account
    from charon.ledger.latency import LatencySummary
    from charon.ledger.pages import Page


class Rates:
    """Frames per second of each vertex, from the counters of successive snapshots.

    Parameters
    ----------
    window_s
        Time over which rates are averaged.
    """

    def __init__(self, window_s: float = 2.0) -> None:
        self._window_ns = window_s * 1e9
        self._history: list[tuple[int, dict[str, int]]] = []

    def update(self, snapshot: Snapshot) -> dict[str, float]:
        """Add a snapshot and return the rates of the vertices."""
        done = {name: count_done(pages) for name, pages in snapshot.by_vertex().items()}
        self._history.append((snapshot.time_ns, done))
        while len(self._history) > 2 and snapshot.time_ns - self._history[1][0] > self._window_ns:
            self._history.pop(0)
        first_ns, first = self._history[0]
        seconds = (snapshot.time_ns - first_ns) / 1e9
        if seconds <= 0:
            return dict.fromkeys(done, 0.0)
        # The counter of a restarted replica starts at 0, which is not a negative rate.
        return {name: max(0.0, (n - first.get(name, 0)) / seconds) for name, n in done.items()}


def count_done(pages: Sequence[Page]) -> int:
    """Return the number of messages that a vertex's replicas have processed."""
    return sum(page.process.counts.get("done", 0) for page in pages)


def live_view(
    title: str,
    pipeline: str,
    snapshot: Snapshot,
    rates: Mapping[str, float],
    order: Sequence[str],
    expected: int | None = None,
) -> RenderableType:
    """Return the live table of a run of a pipeline."""
    parts: list[RenderableType] = [Text(title, style="bold")]
    if expected:
        parts.append(_progress(snapshot.account, expected))
    parts.append(_vertices(pipeline, snapshot, rates, order))
    parts.append(Text.from_markup(account_line(snapshot.account)))
    parts.append(Text(latency_line(snapshot.latency())))
    parts += [Text(f"! {line}", style="yellow") for line in _warnings(snapshot)[-3:]]
    return Group(*parts)


def _progress(account: Account, expected: int) -> RenderableType:
    done = account.reconstructed + sum(account.rejected.values()) + account.missed + account.lost
    line = Table.grid(padding=(0, 1))
    line.add_row(
        ProgressBar(total=expected, completed=min(done, expected), width=50), f"{done:,} of {expected:,} frames"
    )
    return line


def _vertices(pipeline: str, snapshot: Snapshot, rates: Mapping[str, float], order: Sequence[str]) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False)
    table.add_column("vertex")
    for heading in ("state", "frames/s", "frames", "backlog", "memory"):
        table.add_column(heading, justify="left" if heading == "state" else "right")
    grouped = snapshot.by_vertex()
    for name in order:
        pages = grouped.get(name, [])
        memory = sum(page.process.rss_bytes for page in pages) / 2**20
        states = snapshot.states_of(name)
        label = name if len(states) < 2 else f"{name} x{len(states)}"
        table.add_row(
            label,
            _labels(states, ", "),
            f"{rates.get(name, 0.0):.0f}",
            f"{count_done(pages):,}",
            f"{_backlog(pipeline, snapshot, name, order):,}",
            f"{memory:.0f} MiB",
        )
    return table


def account_line(account: Account) -> str:
    """Return the account of frames as one line of text."""
    rejected = sum(account.rejected.values())
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sorted(account.rejected.items()))
    parts = [
        f"published {account.published:,}",
        f"missed {account.missed:,}",
        f"accepted {account.accepted:,}",
        f"rejected {rejected:,}" + (f" ({reasons})" if reasons else ""),
        f"in flight {account.in_flight:,}",
        f"reconstructed {account.reconstructed:,}",
        f"duplicates {account.duplicates:,}",
        f"lost {account.lost:,}",
    ]
    return "  ".join(parts)


def latency_line(latency: LatencySummary | None) -> str:
    """Return the latency as one line of text."""
    if latency is None or latency.p50 is None or latency.p99 is None:
        return "latency: not measured yet"
    line = f"latency from detector to image: p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms"
    excluded = latency.clock_disagrees
    return line + (f"; {excluded:,} frames with disagreeing clocks excluded" if excluded else "")


def plain_lines(
    title: str, pipeline: str, snapshot: Snapshot, rates: Mapping[str, float], order: Sequence[str]
) -> list[str]:
    """Return the state of a run of a pipeline as lines of text."""
    grouped = snapshot.by_vertex()
    lines = [title]
    for name in order:
        pages = grouped.get(name, [])
        states = _labels(snapshot.states_of(name), ",")
        counts = f"{count_done(pages):,} frames, backlog {_backlog(pipeline, snapshot, name, order):,}"
        lines.append(f"{name}: {states}, {rates.get(name, 0.0):.0f} frames/s, {counts}")
    lines.append(account_line(snapshot.account))
    lines.append(latency_line(snapshot.latency()))
    lines += [f"! {line}" for line in _warnings(snapshot)]
    return lines


def _backlog(pipeline: str, snapshot: Snapshot, vertex: str, vertices: Sequence[str]) -> int:
    """Return the number of messages that wait for a vertex, in its edges and in the ring of a source."""
    incoming = {edge_name(pipeline, other, vertex) for other in vertices}
    buffered = sum(state.waiting for edge, state in snapshot.edges.items() if edge in incoming)
    return buffered + waiting_in_rings(snapshot.by_vertex().get(vertex, []))


def _labels(states: Sequence[VertexState], separator: str) -> str:
    """Return the distinct states of a vertex's replicas."""
    return separator.join(sorted({state.label for state in states or [VertexState.STARTING]}))


def _warnings(snapshot: Snapshot) -> list[str]:
    return [line for pages in snapshot.by_vertex().values() for page in pages for line in page.process.warnings]


def clock() -> str:
    """Return the local time of day."""
    return time.strftime("%H:%M:%S")
