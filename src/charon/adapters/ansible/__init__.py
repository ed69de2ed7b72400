"""Ansible: finding it, running a playbook and following it task by task."""

from __future__ import annotations

from charon.adapters.ansible.collections import install_missing, missing_collections
from charon.adapters.ansible.events import HostCount, Note, Summary, Task, TaskResult
from charon.adapters.ansible.playbook import Playbook
from charon.adapters.ansible.tools import find_tool, needs_sudo_password, wants_become

__all__ = [
    "HostCount",
    "Note",
    "Playbook",
    "Summary",
    "Task",
    "TaskResult",
    "find_tool",
    "install_missing",
    "missing_collections",
    "needs_sudo_password",
    "wants_become",
]
