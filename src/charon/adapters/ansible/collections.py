"""Find and install the Ansible collections that a playbook requires."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from charon.adapters.ansible.tools import find_tool, read_yaml
from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def missing_collections(requirements: Path, environment: Mapping[str, str]) -> list[str]:
    """Return the collections of a requirements file that are missing or older than required.

    Raises
    ------
    UsageError
        If the file is not a valid list of collections.
    """
    required = _required(requirements)
    if not required:
        return []
    folders = _folders(environment)
    installed = {name: _installed_version(name, folders) for name in required}
    return [
        name
        for name, minimum in required.items()
        if installed[name] is None or _version_numbers(installed[name] or "") < _version_numbers(minimum)
    ]


def install_collections(requirements: Path, environment: Mapping[str, str]) -> None:
    """Install the collections of a requirements file.

    Raises
    ------
    UnavailableError
        If the installation fails.
    """
    command = [str(find_tool("ansible-galaxy")), "collection", "install", "-r", str(requirements)]
    done = subprocess.run(  # noqa: S603
        command, env=dict(environment), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        output = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise UnavailableError(
            f"cannot install the collections of {requirements} ({output[-1].strip()}); "
            "without internet access, install the Python package ansible, which includes them"
        )


def _folders(environment: Mapping[str, str]) -> list[Path]:
    """Return the folders that Ansible searches for collections; running Ansible to list them would take seconds."""
    configured = environment.get("ANSIBLE_COLLECTIONS_PATH") or environment.get("ANSIBLE_COLLECTIONS_PATHS")
    default = f"{Path.home() / '.ansible/collections'}{os.pathsep}/usr/share/ansible/collections"
    folders = [Path(folder).expanduser() for folder in (configured or default).split(os.pathsep)]
    # The package ansible installs its collections in site-packages, which Ansible searches last.
    program = find_tool("ansible-playbook")
    prefixes = {program.parent.parent, program.resolve().parent.parent}
    folders += [folder for prefix in sorted(prefixes) for folder in prefix.glob("lib/python3*/*-packages")]
    return folders


def _installed_version(name: str, folders: Sequence[Path]) -> str | None:
    """Return the version of a collection in the first folder that contains it; None if it is not installed."""
    for folder in folders:
        manifest = folder / "ansible_collections" / name.replace(".", "/") / "MANIFEST.json"
        if manifest.is_file():
            try:
                document = cast("dict[str, Any]", json.loads(manifest.read_text()))
                return str(document.get("collection_info", {}).get("version", ""))
            except (OSError, ValueError, AttributeError):
                # An interrupted installation left an incomplete file.
                return None
    return None


def _required(requirements: Path) -> dict[str, str]:
    """Return the minimum version of each required collection; empty if any version is accepted."""
    document = read_yaml(requirements)
    listed = cast("dict[str, Any]", document).get("collections", []) if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise UsageError(f"{requirements}: no list of collections; add one under the key collections")
    required: dict[str, str] = {}
    for entry in cast("list[Any]", listed):
        if isinstance(entry, dict):
            collection = cast("dict[str, Any]", entry)
            required[str(collection.get("name", ""))] = str(collection.get("version", ""))
        else:
            required[str(entry)] = ""
    return required


def _version_numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
