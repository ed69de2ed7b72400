"""Get the password for sudo on the provisioned hosts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from charon.adapters.ansible import needs_sudo_password
from charon.errors import UsageError
from charon.settings import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.adapters.ansible import Playbook


def sudo_password(run: Playbook, connection: Sequence[str], *, local: bool) -> str | None:
    """Return the sudo password if it is needed: from the environment, else prompted for.

    Raises
    ------
    UsageError
        If the password is needed and cannot be prompted for.
    """
    if {"-K", "--ask-become-pass"} & set(run.arguments) or any("-password-file" in part for part in run.arguments):
        return None
    configured = environment.copy().get("ANSIBLE_BECOME_PASS")
    if not needs_sudo_password(connection, run.environment, local=local):
        return None
    if configured is not None:
        return configured
    if not sys.stdin.isatty():
        raise UsageError("sudo requires a password and stdin is not a terminal; set ANSIBLE_BECOME_PASS")
    password: str = click.prompt("sudo password", hide_input=True, err=True)
    return password
