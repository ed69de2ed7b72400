"""Show a playbook's run: a live line on a terminal, plain lines in a pipe, and a summary at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.text import Text

from charon.adapters.ansible import Note, Task, TaskResult, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charon.adapters.ansible import Summary

_STYLES = {
    TaskStatus.OK: "green",
    TaskStatus.CHANGED: "yellow",
    TaskStatus.IGNORED: "magenta",
    TaskStatus.FAILED: "bold red",
    TaskStatus.UNREACHABLE: "bold red",
}
_WITH_MESSAGE = {TaskStatus.FAILED, TaskStatus.UNREACHABLE, TaskStatus.IGNORED}


class PlainView:
    """One line per event, without control characters."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, event: Task | TaskResult | Note) -> None:
        """Print an event; a task is printed when it ends."""
        if isinstance(event, Note):
            click.echo(event.text, err=True)
        elif isinstance(event, TaskResult) and event.status is not TaskStatus.SKIPPED:
            click.echo(f"{event.host}: {event.status}: {event.task}", err=True)
            for line in _detail(event):
                click.echo(f"  {line}", err=True)


class LiveView:
    """One line per finished task, and the running task in the last line."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._status = self._console.status("starting Ansible")

    def __enter__(self) -> Self:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def show(self, event: Task | TaskResult | Note) -> None:
        """Show an event."""
        if isinstance(event, Task):
            attempt = f" (attempt {event.attempt})" if event.attempt else ""
            self._status.update(Text(event.name + attempt))
        elif isinstance(event, Note):
            self._console.print(event.text)
        elif event.status is not TaskStatus.SKIPPED:
            line = Text.assemble((f"{event.status:<11}", _STYLES.get(event.status, "")), f" {event.host}  {event.task}")
            self._console.print(line, soft_wrap=True)
            for detail in _detail(event):
                self._console.print(Text(f"            {detail}"), soft_wrap=True)


def _detail(event: TaskResult) -> list[str]:
    # Messages of successful tasks are part of the summary.
    return event.message.splitlines() if event.status in _WITH_MESSAGE else []


def summary_lines(summary: Summary) -> Iterator[str]:
    """Return the counts, changed and failed tasks of each host, and the playbook's messages."""
    for host, count in summary.hosts.items():
        yield (
            f"{host}: {count.ok} ok, {count.changed} changed, {count.failed} failed, "
            f"{count.unreachable} unreachable, {count.skipped} skipped"
        )
        for status, tasks in ((TaskStatus.CHANGED, summary.changed), (TaskStatus.FAILED, summary.failed)):
            for task in tasks.get(host, []):
                yield f"  {status}: {task}"
    yield from (line for message in summary.messages for line in message.splitlines())
    if not summary.hosts:
        yield f"no task was run (Ansible's exit status {summary.status})"
    yield f"finished in {summary.seconds:.0f} s"
