"""Determine whether a playbook needs privilege escalation, and whether sudo then needs a password."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, cast

from charon.adapters.ansible.tools import find_tool, read_yaml
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_LOCAL_SUDO_TIMEOUT_S = 30
_REMOTE_SUDO_TIMEOUT_S = 120
_NEEDS_PASSWORD = "sudo-needs-a-password"  # noqa: S105 - a marker, not a password


def uses_become(playbook: Path) -> bool:
    """Return whether a play or a task of a playbook sets ``become``.

    Raises
    ------
    UsageError
        If the file cannot be read or does not contain plays.
    """
    plays = read_yaml(playbook)
    if not isinstance(plays, list) or not all(isinstance(play, dict) for play in cast("list[object]", plays)):
        raise UsageError(f"{playbook}: not a playbook; expected a list of plays")
    return _sets_become(cast("object", plays))


def _sets_become(document: object) -> bool:
    # With aliases, a part may occur many times, or contain itself.
    visited: set[int] = set()
    pending = [document]
    while pending:
        part = pending.pop()
        if id(part) in visited:
            continue
        visited.add(id(part))
        if isinstance(part, dict):
            mapping = cast("dict[str, object]", part)
            if mapping.get("become"):
                return True
            pending += mapping.values()
        elif isinstance(part, list):
            pending += cast("list[object]", part)
    return False


def needs_sudo_password(arguments: Sequence[str], environment: Mapping[str, str], *, local: bool) -> bool:
    """Return whether sudo needs a password on this machine, or on any of the hosts in Ansible's arguments.

    A host that cannot be reached does not count; Ansible itself reports it.
    """
    if local:
        if os.geteuid() == 0:
            return False
        sudo = shutil.which("sudo")
        return sudo is not None and not _runs_without_password(sudo, environment)
    script = f'test "$(id -u)" = 0 || sudo -n true || echo {_NEEDS_PASSWORD}'
    command = [str(find_tool("ansible")), "all", "-m", "ansible.builtin.raw", "-a", script, *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_REMOTE_SUDO_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return any(line.strip() == _NEEDS_PASSWORD for line in done.stdout.splitlines())


def _runs_without_password(sudo: str, environment: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(  # noqa: S603
            [sudo, "-n", "true"],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_LOCAL_SUDO_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"sudo -n timed out after {_LOCAL_SUDO_TIMEOUT_S} s; check that sudo works") from error
    return done.returncode == 0
