"""Run Ansible playbooks, report their tasks, and install missing collections."""

from __future__ import annotations

from charon.adapters.ansible.become import needs_sudo_password, uses_become
from charon.adapters.ansible.collections import install_collections, missing_collections
from charon.adapters.ansible.events import HostCount, Note, Summary, Task, TaskResult, TaskStatus
from charon.adapters.ansible.playbook import Playbook
from charon.adapters.ansible.tools import find_tool

__all__ = [
    "HostCount",
    "Note",
    "Playbook",
    "Summary",
    "Task",
    "TaskResult",
    "TaskStatus",
    "find_tool",
    "install_collections",
    "missing_collections",
    "needs_sudo_password",
    "uses_become",
]
