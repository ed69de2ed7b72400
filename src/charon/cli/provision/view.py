"""How a playbook's run looks: a live line on a terminal, plain lines in a pipe, a summary at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.text import Text

from charon.adapters.ansible import Note, Task, TaskResult

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charon.adapters.ansible import Summary

_COLOURS = {"ok": "green", "changed": "yellow", "ignored": "magenta", "failed": "bold red", "unreachable": "bold red"}


class PlainView:
    """One line an event, with nothing in it that only a terminal understands."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, event: Task | TaskResult | Note) -> None:
        """Write a line; tasks are written when they end."""
        if isinstance(event, Note):
            click.echo(event.text, err=True)
        elif isinstance(event, TaskResult) and event.status != "skipped":
            click.echo(f"{event.host}: {event.status}: {event.task}", err=True)
            for line in _detail(event):
                click.echo(f"  {line}", err=True)


class LiveView:
    """What is done scrolls by; what is being done stands in the last line."""

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
            again = f" (attempt {event.attempt})" if event.attempt else ""
            self._status.update(Text(event.name + again))
        elif isinstance(event, Note):
            self._console.print(event.text)
        elif event.status != "skipped":
            line = Text.assemble(
                (f"{event.status:<11}", _COLOURS.get(event.status, "")), f" {event.host}  {event.task}"
            )
            self._console.print(line, soft_wrap=True)
            for detail in _detail(event):
                self._console.print(Text(f"            {detail}"), soft_wrap=True)


def _detail(event: TaskResult) -> list[str]:
    # What a task says although it went well is said once, at the end.
    return event.message.splitlines() if event.status in {"failed", "unreachable", "ignored"} else []


def summary_lines(summary: Summary) -> Iterator[str]:
    """Return what was done: what changed and what failed on each host, and what the playbook has to say."""
    for host, count in summary.hosts.items():
        yield (
            f"{host}: {count.ok} ok, {count.changed} changed, {count.failed} failed, "
            f"{count.unreachable} unreachable, {count.skipped} skipped"
        )
        for word, tasks in (("changed", summary.changed), ("failed", summary.failed)):
            for task in tasks.get(host, []):
                yield f"  {word}: {task}"
    yield from (line for message in summary.messages for line in message.splitlines())
    if not summary.hosts:
        yield f"nothing was done (Ansible's exit status {summary.status})"
    yield f"took {summary.seconds:.0f} s"
