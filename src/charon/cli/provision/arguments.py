"""Parse the arguments of ansible-playbook: the host, the connection, and forbidden passwords."""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from charon.errors import UsageError
from charon.settings import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

_PASSWORD = re.compile(r"pass(word)?[\"']?\s*[:=]", re.IGNORECASE)
_INVENTORY = re.compile(r"^(-i.*|--inventory(-file)?(=.*)?)$")
# Options of ansible-playbook that affect the connection to hosts; each has a value.
_CONNECTION = {
    *("-i", "--inventory", "--inventory-file", "-l", "--limit", "-u", "--user", "-c", "--connection"),
    *("--private-key", "--key-file", "-T", "--timeout", "--ssh-common-args", "--ssh-extra-args", "-e", "--extra-vars"),
}


def reject_passwords(arguments: Sequence[str]) -> None:
    """Check that no argument contains a password.

    Raises
    ------
    UsageError
        If an argument contains a password.
    """
    if any(_PASSWORD.search(argument) for argument in arguments):
        raise UsageError(
            "a password on the command line is visible to every user of this machine; "
            "for sudo, omit it to be prompted or set ANSIBLE_BECOME_PASS; for others, use a file: -e @FILE"
        )


def split_host(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the host, which is the first argument unless that is an option, and the other arguments."""
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], list(arguments[1:])
    return None, list(arguments)


def resolve_target(host: str | None, rest: Sequence[str]) -> tuple[list[str], bool]:
    """Return Ansible's arguments for a host, and whether it is this machine.

    Raises
    ------
    UsageError
        If the host name is invalid.
    """
    if any(_INVENTORY.match(argument) for argument in rest):
        return (["--limit", host] if host else []), False
    user, _, name = (host or "localhost").rpartition("@")
    if not name or re.search(r"[\s,/]", name):
        raise UsageError(f"{host!r} is not a valid host name; for an inventory, use -i FILE")
    if name in {"localhost", "127.0.0.1", "::1"}:
        interpreter = f"ansible_python_interpreter={sys.executable}"
        return ["--inventory", f"{name},", "--connection", "local", "-e", interpreter], True
    user = user or environment.get("ANSIBLE_USER")
    if not user and not {"-u", "--user"} & set(rest):
        user = _prompt_user(name)
    return ["--inventory", f"{name},", *(["--user", user] if user else [])], False


def connection_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of ansible-playbook that affect the connection to hosts."""
    selected: list[str] = []
    value_follows = False
    for argument in arguments:
        if value_follows or argument.partition("=")[0] in _CONNECTION or argument[:2] in {"-i", "-u", "-e", "-l", "-c"}:
            selected.append(argument)
            value_follows = not value_follows and argument in _CONNECTION
    return selected


def _prompt_user(host: str) -> str:
    """Return the user for a host: from SSH's configuration, else prompted for on a terminal, else empty."""
    ssh = shutil.which("ssh")
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or ssh is None:
        return ""
    done = subprocess.run([ssh, "-G", host], capture_output=True, text=True, check=False)  # noqa: S603
    configured = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("user ")), "")
    if configured and configured != getpass.getuser():
        return configured
    user: str = click.prompt(f"user on {host}", default=configured or getpass.getuser(), err=True)
    return user
