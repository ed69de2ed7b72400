"""Manifests and playbooks that ship with Charon, both in a checkout and in an installed package."""

from __future__ import annotations

import os
from pathlib import Path

_PACKAGE = Path(__file__).parent
_CHECKOUT = _PACKAGE.parents[1]
FOLDERS = ("ansible", "workflows")
"""Top-level folders that ship with Charon."""


def shipped(path: str | Path) -> Path | None:
    """Return the shipped file or folder for a relative path such as ``workflows/aps/metrics.txt``.

    Parameters
    ----------
    path
        Path from the top of a checkout; its first part is one of `FOLDERS`.

    Returns
    -------
    The path on this machine, or None if Charon does not ship it.
    """
    relative = Path(path)
    if relative.is_absolute() or relative.parts[:1] not in {(folder,) for folder in FOLDERS} or ".." in relative.parts:
        return None
    candidates = (_PACKAGE / "resources" / relative, _CHECKOUT / relative)
    # Unlike Path.exists, os.path.exists does not raise, for example if a name is too long.
    return next((candidate for candidate in candidates if os.path.exists(candidate)), None)  # noqa: PTH110


def resolve(path: str | Path) -> Path:
    """Return the path itself if it exists or Charon does not ship it, else the shipped file of that name.

    A file in the current folder takes precedence, so a user can copy and edit a shipped manifest.
    """
    local = Path(path)
    candidate = shipped(local)
    if candidate is None:
        return local
    try:
        return local if local.exists() else candidate
    except OSError:
        # The caller reports the error when it opens the file.
        return local
