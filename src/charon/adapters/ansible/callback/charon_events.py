"""Callback plugin, loaded by Ansible: writes the events of a play to an inherited file descriptor.

Each event is a JSON object on one line. The module does not import Charon, because Ansible may run in another Python.
"""

# ruff: noqa: ANN401, D102, SLF001 - Ansible calls these methods by name, and has no public access to results

from __future__ import annotations

import json
import os
from typing import Any, cast

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: charon_events
type: stdout
short_description: events of a play as JSON lines on a file descriptor
description: The number of the file descriptor is in the environment variable CHARON_ANSIBLE_EVENTS.
"""


class CallbackModule(CallbackBase):
    """Writes events. Ansible has already censored the results of tasks with no_log."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "charon_events"

    def __init__(self) -> None:
        super().__init__()
        self._descriptor = int(os.environ["CHARON_ANSIBLE_EVENTS"])
        # Ansible's children must not inherit it: one that outlives the play would keep the pipe open.
        os.set_inheritable(self._descriptor, False)

    def _write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, **fields}, default=str) + "\n"
        data = line.encode()
        while data:
            data = data[os.write(self._descriptor, data) :]

    def v2_playbook_on_play_start(self, play: Any) -> None:
        self._write("play", name=play.get_name())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        del is_conditional
        self._write("task", name=task.get_name())

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._write("task", name=task.get_name())

    def _result(self, status: str, result: Any) -> None:
        fields = cast("dict[str, Any]", result._result)
        message: Any = ""
        if status in {"failed", "unreachable", "ignored"}:
            message = self._message(fields)
        elif result._task.action in {"debug", "ansible.builtin.debug"} and not fields.get("_ansible_no_log"):
            message = fields.get("msg", "")
        if isinstance(message, list):
            message = "\n".join(str(line) for line in cast("list[object]", message))
        self._write(
            "result",
            host=result._host.get_name(),
            task=result._task.get_name(),
            status=status,
            message=str(message),
        )

    @staticmethod
    def _message(fields: dict[str, Any]) -> str:
        if fields.get("censored"):
            return str(fields["censored"])
        failed = [item for item in fields.get("results", []) if item.get("failed")] or [fields]
        parts = [str(item.get("msg") or "") for item in failed]
        parts += [str(item.get("stderr") or item.get("module_stderr") or "").strip() for item in failed]
        return "\n".join(dict.fromkeys(part for part in parts if part))

    def v2_runner_on_ok(self, result: Any) -> None:
        self._result("changed" if result._result.get("changed") else "ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("ignored" if ignore_errors else "failed", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_runner_retry(self, result: Any) -> None:
        self._write(
            "retry",
            host=result._host.get_name(),
            task=result._task.get_name(),
            attempt=result._result.get("attempts", 0),
            retries=result._result.get("retries", 0),
        )

    def v2_playbook_on_no_hosts_matched(self) -> None:
        self._write("no_hosts_matched")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        self._write("summary", hosts={host: stats.summarize(host) for host in sorted(stats.processed)})
