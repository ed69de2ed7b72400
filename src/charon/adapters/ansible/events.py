"""What happens in a play, as Charon's callback in Ansible tells it, and the sum of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Task:
    """A task begins, or is tried once more."""

    name: str
    attempt: int = 0


@dataclass(frozen=True)
class TaskResult:
    """A task has ended on a host.

    ``status`` is one of ``ok``, ``changed``, ``skipped``, ``ignored``, ``failed``, ``unreachable``.
    """

    host: str
    task: str
    status: str
    message: str = ""


@dataclass(frozen=True)
class Note:
    """Something to know that belongs to no task."""

    text: str


@dataclass(frozen=True)
class HostCount:
    """How many tasks ended how on a host."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    skipped: int = 0


@dataclass
class Summary:
    """What a run of a playbook did: counts by host, and the names of tasks that changed or failed."""

    hosts: dict[str, HostCount] = field(default_factory=dict[str, HostCount])
    changed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    messages: list[str] = field(default_factory=list[str])
    status: int = 0
    seconds: float = 0.0

    def take(self, result: TaskResult) -> None:
        """Take in how a task ended."""
        if result.status == "changed":
            self.changed.setdefault(result.host, []).append(result.task)
        elif result.status in {"failed", "unreachable"}:
            self.failed.setdefault(result.host, []).append(result.task)
        elif result.status == "ok" and result.message:
            self.messages.append(result.message)

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON values."""
        return {
            "status": self.status,
            "seconds": round(self.seconds, 1),
            "hosts": {host: vars(count) for host, count in self.hosts.items()},
            "changed": self.changed,
            "failed": self.failed,
            "messages": self.messages,
        }


Event = Task | TaskResult | Note | dict[str, HostCount]
"""What a line may hold; the mapping is the count of each host at the end."""


def read_event(line: str) -> Event | None:
    """Return the event of a line; None for one that is of no interest."""
    try:
        found = json.loads(line)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    event = cast("dict[str, Any]", found)
    reader = _READERS.get(str(event.get("event")))
    return reader(event) if reader is not None else None


def _summary(event: dict[str, Any]) -> dict[str, HostCount]:
    hosts = cast("dict[str, dict[str, int]]", event["hosts"])
    return {host: _count(numbers) for host, numbers in hosts.items()}


def _count(numbers: dict[str, int]) -> HostCount:
    return HostCount(
        ok=numbers.get("ok", 0),
        changed=numbers.get("changed", 0),
        failed=numbers.get("failures", 0),
        unreachable=numbers.get("unreachable", 0),
        skipped=numbers.get("skipped", 0),
    )


def _result(event: dict[str, Any]) -> TaskResult:
    return TaskResult(str(event["host"]), str(event["task"]), str(event["status"]), str(event["message"]))


_READERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "task": lambda event: Task(str(event["name"])),
    "retry": lambda event: Task(str(event["task"]), int(event.get("attempt") or 0)),
    "result": _result,
    "nobody": lambda _: Note("the playbook names no host that is there"),
    "summary": _summary,
}
