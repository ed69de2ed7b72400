"""Lines of the callback plugin become events, other lines are ignored, and a summary adds results up."""

from __future__ import annotations

import json

import pytest

from charon.adapters.ansible import HostCount, Note, Summary, Task, TaskResult, TaskStatus
from charon.adapters.ansible.events import read_event


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"event": "task", "name": "Install Helm"}, Task("Install Helm")),
        ({"event": "retry", "task": "Wait", "host": "n", "attempt": 2, "retries": 60}, Task("Wait", attempt=2)),
        (
            {"event": "result", "host": "n", "task": "Install Helm", "status": "changed", "message": ""},
            TaskResult("n", "Install Helm", TaskStatus.CHANGED),
        ),
        ({"event": "no_hosts_matched"}, Note("no host in the inventory matches the playbook")),
        (
            {"event": "summary", "hosts": {"n": {"ok": 3, "failures": 1, "rescued": 2}}},
            {"n": HostCount(ok=3, failed=1)},
        ),
    ],
)
def test_line_becomes_event(document, expected):
    assert read_event(json.dumps(document)) == expected


@pytest.mark.parametrize("line", ["", "not JSON", "[1]", '{"event": "play", "name": "x"}', '{"name": "x"}'])
def test_other_line_is_ignored(line):
    assert read_event(line) is None


def test_summary_lists_changes_failures_and_messages():
    summary = Summary()
    for status in TaskStatus:
        summary.add(TaskResult("n", f"Task {status}", status, "done" if status is TaskStatus.OK else ""))
    assert summary.changed == {"n": ["Task changed"]}
    assert summary.failed == {"n": ["Task failed", "Task unreachable"]}
    assert summary.messages == ["done"]
