"""Complete file names, with manifests and playbooks first."""

from __future__ import annotations

import os
from pathlib import Path

_YAML_SUFFIXES = (".yaml", ".yml")
_MAX_ENTRIES = 10_000


def matching_paths(prefix: str, *, folders_only: bool = False) -> list[str]:
    """Return the paths that start with a prefix: YAML files, then folders with a trailing slash, then other files.

    Hidden files are omitted unless the last part of the prefix starts with a dot.
    """
    folder, slash, name = prefix.rpartition("/")
    root = Path(folder + slash).expanduser() if folder + slash else Path()
    ranked: list[tuple[int, str]] = []
    with os.scandir(root) as entries:
        for count, entry in enumerate(entries):
            if count == _MAX_ENTRIES:
                break
            if not entry.name.startswith(name) or (entry.name.startswith(".") and not name.startswith(".")):
                continue
            is_folder = entry.is_dir()
            if is_folder or not folders_only:
                ranked.append((_rank(entry.name, is_folder), folder + slash + entry.name + ("/" if is_folder else "")))
    return [path for _, path in sorted(ranked)]


def _rank(name: str, is_folder: bool) -> int:
    if is_folder:
        return 1
    return 0 if name.lower().endswith(_YAML_SUFFIXES) else 2
