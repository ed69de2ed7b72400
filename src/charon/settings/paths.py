"""Folders of Charon's own files, by the XDG Base Directory Specification."""

from __future__ import annotations

from pathlib import Path

from charon.errors import UnavailableError
from charon.settings import environment


def state_folder() -> Path:
    """Return ``$XDG_STATE_HOME/charon`` or ``~/.local/state/charon``.

    Raises
    ------
    UnavailableError
        If the user has no home folder.
    """
    base = environment.get("XDG_STATE_HOME")
    if base and Path(base).is_absolute():
        return Path(base) / "charon"
    try:
        return Path.home() / ".local" / "state" / "charon"
    except RuntimeError as error:
        raise UnavailableError("no home folder for Charon's state files; set XDG_STATE_HOME") from error


def runs_folder() -> Path:
    """Return the folder of run records; it also contains the run files of active runs."""
    return state_folder() / "runs"
