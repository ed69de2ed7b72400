"""Ansible's programs, and whether a password is needed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


YAML_FAULTS = (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError)
"""What PyYAML passes on besides its own errors: of a date of a 13th month, a tag that does not fit, many brackets."""


def find_tool(name: str) -> Path:
    """Return the path of one of Ansible's programs: the one beside this Python, else the one on the path.

    Raises
    ------
    UnavailableError
        If there is none.
    """
    beside = Path(sys.executable).parent / name
    if beside.is_file():
        return beside
    found = shutil.which(name)
    if found is None:
        raise UnavailableError(f"{name} is missing: pip install ansible-core, or the package ansible of your system")
    return Path(found)


def wants_become(playbook: Path) -> bool:
    """Return whether a playbook itself says that a play or a task becomes another user.

    Raises
    ------
    UsageError
        If the file cannot be read, or holds no plays.
    """
    try:
        plays = yaml.safe_load(playbook.read_text())
    except OSError as error:
        raise UsageError(f"{playbook} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, *YAML_FAULTS) as error:
        raise UsageError(f"{playbook} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(plays, list) or not all(isinstance(play, dict) for play in cast("list[Any]", plays)):
        raise UsageError(f"{playbook} is no playbook: it should be a list of plays")
    return _says_become(cast("object", plays))


def _says_become(whole: object) -> bool:
    # Each part once: with aliases the same one stands in many places, or in itself.
    seen: set[int] = set()
    left = [whole]
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, dict):
            known = cast("dict[str, object]", part)
            if known.get("become"):
                return True
            left += known.values()
        elif isinstance(part, list):
            left += cast("list[object]", part)
    return False


def needs_sudo_password(arguments: Sequence[str], environment: Mapping[str, str], *, local: bool) -> bool:
    """Return whether sudo asks for a password: here, or on any of the hosts that Ansible's arguments name.

    A host that cannot be reached asks for none; Ansible itself will say so.
    """
    if local:
        if os.geteuid() == 0:
            return False
        sudo = shutil.which("sudo")
        return sudo is not None and _status([sudo, "-n", "true"], environment) != 0
    ask = 'test "$(id -u)" = 0 || sudo -n true || echo asks-for-a-password'
    command = [str(find_tool("ansible")), "all", "-m", "ansible.builtin.raw", "-a", ask, *arguments]
    try:
        done = subprocess.run(  # noqa: S603
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return any(line.strip() == "asks-for-a-password" for line in done.stdout.splitlines())


def _status(command: Sequence[str], environment: Mapping[str, str]) -> int:
    try:
        return subprocess.run(  # noqa: S603
            command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        ).returncode
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(f"{command[0]} does not answer whether it wants a password") from error
