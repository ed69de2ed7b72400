"""The collections that a playbook needs, and installing those that are missing."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import yaml

from charon.adapters.ansible.tools import YAML_FAULTS, find_tool
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
    here = {name: _installed(name, _folders(environment)) for name in wanted}
    return [
        name for name, lowest in wanted.items() if here[name] is None or _numbers(here[name] or "") < _numbers(lowest)
    ]


def _folders(environment: Mapping[str, str]) -> list[Path]:
    """Return where Ansible looks for collections; asking Ansible itself would take seconds."""
    named = environment.get("ANSIBLE_COLLECTIONS_PATH") or environment.get("ANSIBLE_COLLECTIONS_PATHS")
    default = f"{Path.home() / '.ansible/collections'}{os.pathsep}/usr/share/ansible/collections"
    folders = [Path(folder).expanduser() for folder in (named or default).split(os.pathsep)]
    # Then those that came with the package ansible.
    program = find_tool("ansible-playbook")
    roots = {program.parent.parent, program.resolve().parent.parent}
    folders += [found for root in sorted(roots) for found in root.glob("lib/python3*/*-packages")]
    return folders


def _installed(name: str, folders: Sequence[Path]) -> str | None:
    """Return the version of a collection that Ansible finds first, or None."""
    for folder in folders:
        manifest = folder / "ansible_collections" / name.replace(".", "/") / "MANIFEST.json"
        if manifest.is_file():
            try:
                about = cast("dict[str, Any]", json.loads(manifest.read_text()))
                return str(about.get("collection_info", {}).get("version", ""))
            except (OSError, ValueError, AttributeError):
                # Cut off while it was written: as good as not there.
                return None
    return None


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
    except (OSError, yaml.YAMLError, *YAML_FAULTS) as error:
        raise UsageError(f"{requirements} cannot be read: {' '.join(str(error).split())}") from error
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
