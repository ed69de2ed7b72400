"""The collections that a playbook needs, and installing those that are missing."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any, cast

import yaml

from charon.adapters.ansible.tools import find_tool
from charon.frames.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def missing_collections(requirements: Path, environment: Mapping[str, str]) -> list[str]:
    """Return what a requirements file names and is not installed, or is older than it says.

    Raises
    ------
    UsageError
        If the file cannot be read as a list of collections.
    """
    wanted = _wanted(requirements)
    if not wanted:
        return []
    command = [str(find_tool("ansible-galaxy")), "collection", "list", "--format", "json"]
    done = subprocess.run(command, env=dict(environment), capture_output=True, text=True, check=False)  # noqa: S603
    try:
        folders = cast("dict[str, dict[str, dict[str, str]]]", json.loads(done.stdout))
    except ValueError:
        return list(wanted)
    # Ansible takes the first that it finds.
    here: dict[str, str] = {}
    for collections in folders.values():
        for name, about in collections.items():
            here.setdefault(name, about.get("version", ""))
    return [name for name, lowest in wanted.items() if name not in here or _numbers(here[name]) < _numbers(lowest)]


def install_missing(requirements: Path, environment: Mapping[str, str]) -> None:
    """Install what a requirements file names.

    Raises
    ------
    UnavailableError
        If that fails.
    """
    command = [str(find_tool("ansible-galaxy")), "collection", "install", "-r", str(requirements)]
    done = subprocess.run(  # noqa: S603
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise UnavailableError(
            f"the collections of {requirements} could not be installed ({said[-1].strip()}); "
            "without internet: pip install ansible, which brings them"
        )


def _wanted(requirements: Path) -> dict[str, str]:
    try:
        document = yaml.safe_load(requirements.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"{requirements} cannot be read: {error}") from error
    listed = cast("dict[str, Any]", document).get("collections", []) if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{requirements} names no collections")
    wanted: dict[str, str] = {}
    for entry in cast("list[Any]", listed):
        if isinstance(entry, dict):
            about = cast("dict[str, Any]", entry)
            wanted[str(about.get("name", ""))] = str(about.get("version", ""))
        else:
            wanted[str(entry)] = ""
    return wanted


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
