"""Progress of a comparison: a bar with the time left on a terminal, otherwise one line per cell."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn
from rich.progress import Progress as Bar
from rich.text import Text

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Task

    from charon.comparison.model import Cell, CellResult, Condition
    from charon.comparison.remaining import Estimate


class Progress:
    """Observer of a comparison that prints its progress on stderr.

    Parameters
    ----------
    estimate
        Estimate of the time left; this observer adds the results to it.
    quiet
        Whether to print nothing.
    """

    def __init__(self, estimate: Estimate, *, quiet: bool) -> None:
        self._estimate = estimate
        self._quiet = quiet
        self._is_replaying = True
        self._bar = None if quiet or not sys.stderr.isatty() else _bar()
        self._task = None if self._bar is None else self._bar.add_task("", total=None, ends_s=None)

    def __enter__(self) -> Self:
        """Show the bar."""
        if self._bar is not None:
            self._bar.start()
        self._update("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.stop()

    def started(self, cell: Cell, attempt: int) -> None:
        """Show the cell that is being measured."""
        if self._is_replaying and self._estimate.done:
            self.note(f"{self._estimate.done} cells were measured before")
        self._is_replaying = False
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._update(f"{describe(cell.condition)}{again}")

    def finished(self, result: CellResult) -> None:
        """Print the result of an invalid attempt."""
        if result.invalid is not None:
            self.note(f"{describe(result.cell.condition)}: {outcome(result)}")

    def decided(self, result: CellResult) -> None:
        """Update the estimate, and print the result of a cell that was not measured before."""
        self._estimate.add(result)
        if self._is_replaying:
            return
        self._update("")
        if result.invalid is None:
            done, left = self._estimate.done, self._estimate.left
            position = f"[{done}/{done + left}, about {duration(self._estimate.left_s)} left]"
            self.note(f"{position} {describe(result.cell.condition)}: {outcome(result)}")

    def note(self, line: str) -> None:
        """Print a line."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(line, err=True)

    def _update(self, description: str) -> None:
        if self._bar is not None and self._task is not None:
            done, left = self._estimate.done, self._estimate.left
            ends_s = time.monotonic() + self._estimate.left_s
            self._bar.update(self._task, description=description, completed=done, total=done + left, ends_s=ends_s)


def describe(condition: Condition) -> str:
    """Return a condition in a few words."""
    words = [condition.part, condition.engine + (f" ({condition.side})" if condition.side else "")]
    words.append(f"{condition.rate_hz:.4g} frames/s")
    if condition.replicas > 1:
        words.append(f"{condition.replicas} replicas")
    if condition.part == "setting":
        setting = condition.setting
        words.append(f"batch {setting.batch}, threads {setting.threads or 'default'}, queue {setting.queue_size}")
    return f"{' '.join(words)} ({condition.model})"


def outcome(result: CellResult) -> str:
    """Return the result of an attempt in one line."""
    if result.failure is not None:
        return f"failed: {result.failure}"
    if result.invalid is not None:
        return f"invalid: {result.invalid}"
    words: list[str] = []
    if result.counts is not None:
        words.append(f"{result.counts.processed} of {result.counts.published} frames")
    if result.processed_hz is not None:
        words.append(f"{result.processed_hz:.4g} frames/s")
    latency = result.latency_ms.get("result")
    if latency is not None:
        words.append(f"p50/p99 {latency.p50:.3g}/{latency.p99:.3g} ms")
    if not result.kept_up:
        words.append("did not keep up")
    return ", ".join(words)


def duration(seconds: float) -> str:
    """Return a duration such as ``1 h 5 min``, ``5 min`` or ``40 s``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


class _TimeLeft(ProgressColumn):
    """Time until the estimated end."""

    def render(self, task: Task) -> Text:
        """Return the time left."""
        ends_s = task.fields["ends_s"]
        left_s = 0.0 if ends_s is None else max(0.0, ends_s - time.monotonic())
        return Text("" if ends_s is None else f"{duration(left_s)} left")


def _bar() -> Bar:
    columns = (BarColumn(), MofNCompleteColumn(), _TimeLeft(), TextColumn("{task.description}", markup=False))
    return Bar(*columns, console=Console(stderr=True), transient=True, refresh_per_second=2)
