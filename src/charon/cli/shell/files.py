"""Files that a word may become, manifests and playbooks first."""

from __future__ import annotations

import os
from pathlib import Path

_YAML = (".yaml", ".yml")
_MOST = 10_000


def files(begun: str, *, folders_only: bool = False) -> list[str]:
    """Return the paths that begin so: YAML, then folders, each with a slash, then the rest.

    Hidden ones are left out where the name is not begun with a dot.
    """
    folder, slash, name = begun.rpartition("/")
    at = Path(folder + slash).expanduser() if folder + slash else Path()
    found: list[tuple[int, str]] = []
    with os.scandir(at) as entries:
        for count, entry in enumerate(entries):
            if count == _MOST:
                break
            if not entry.name.startswith(name) or (entry.name.startswith(".") and not name.startswith(".")):
                continue
            is_folder = entry.is_dir()
            if is_folder or not folders_only:
                found.append((_rank(entry.name, is_folder), folder + slash + entry.name + ("/" if is_folder else "")))
    return [path for _, path in sorted(found)]


def _rank(name: str, is_folder: bool) -> int:
    if is_folder:
        return 1
    return 0 if name.lower().endswith(_YAML) else 2
