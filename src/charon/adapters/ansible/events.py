"""Parse the events that Charon's callback plugin writes, and summarise them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Callable


class TaskStatus(StrEnum):
    """Status of a task on a host."""

    OK = "ok"
    CHANGED = "changed"
    SKIPPED = "skipped"
    IGNORED = "ignored"
    FAILED = "failed"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True)
class Task:
    """Start of a task or of its retry."""

    name: str
    attempt: int = 0


@dataclass(frozen=True)
class TaskResult:
    """Result of a task on a host."""

    host: str
    task: str
    status: TaskStatus
    message: str = ""


@dataclass(frozen=True)
class Note:
    """Message that does not belong to a task."""

    text: str


@dataclass(frozen=True)
class HostCount:
    """Number of tasks on a host by status."""

    ok: int = 0
    changed: int = 0
    failed: int = 0
    unreachable: int = 0
    skipped: int = 0


class SummaryDocument(TypedDict):
    """Summary as JSON values."""

    status: int
    seconds: float
    hosts: dict[str, dict[str, int]]
    changed: dict[str, list[str]]
    failed: dict[str, list[str]]
    messages: list[str]


@dataclass
class Summary:
    """Summary of a playbook's run: counts by host, and the names of tasks that changed something or failed."""

    hosts: dict[str, HostCount] = field(default_factory=dict[str, HostCount])
    changed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    failed: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    messages: list[str] = field(default_factory=list[str])
    status: int = 0
    seconds: float = 0.0

    def add(self, result: TaskResult) -> None:
        """Add the result of a task."""
        if result.status is TaskStatus.CHANGED:
            self.changed.setdefault(result.host, []).append(result.task)
        elif result.status in {TaskStatus.FAILED, TaskStatus.UNREACHABLE}:
            self.failed.setdefault(result.host, []).append(result.task)
        elif result.status is TaskStatus.OK and result.message:
            self.messages.append(result.message)

    def to_json(self) -> SummaryDocument:
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
"""Content of a line; the mapping has the counts of each host at the end."""


def read_event(line: str) -> Event | None:
    """Return the event in a line; None if the line contains none of these events."""
    try:
        document: object = json.loads(line)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    event = cast("dict[str, Any]", document)
    reader = _READERS.get(str(event.get("event")))
    return reader(event) if reader is not None else None


def _host_counts(event: dict[str, Any]) -> dict[str, HostCount]:
    hosts = cast("dict[str, dict[str, int]]", event["hosts"])
    return {host: _host_count(stats) for host, stats in hosts.items()}


def _host_count(stats: dict[str, int]) -> HostCount:
    return HostCount(
        ok=stats.get("ok", 0),
        changed=stats.get("changed", 0),
        failed=stats.get("failures", 0),
        unreachable=stats.get("unreachable", 0),
        skipped=stats.get("skipped", 0),
    )


def _task_result(event: dict[str, Any]) -> TaskResult:
    return TaskResult(str(event["host"]), str(event["task"]), TaskStatus(event["status"]), str(event["message"]))


_READERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    "task": lambda event: Task(str(event["name"])),
    "retry": lambda event: Task(str(event["task"]), int(event.get("attempt") or 0)),
    "result": _task_result,
    "no_hosts_matched": lambda _: Note("no host in the inventory matches the playbook"),
    "summary": _host_counts,
}
