"""Environments in which a cell's processes use pvAccess on loopback, apart from every other run on the machine."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from charon.settings import environment, epics

if TYPE_CHECKING:
    from pathlib import Path

_REMOVED = ("EPICS_", "CHARON_")


def isolated_environment(folder: Path) -> dict[str, str]:
    """Return this process's environment, with pvAccess on loopback and a free port, and run files in a folder.

    Parameters
    ----------
    folder
        Folder for the state files; a run of the user on the same machine has another one.
    """
    inherited = {name: value for name, value in environment.copy().items() if not name.startswith(_REMOVED)}
    return {**inherited, **epics.isolated(_free_udp_port()), "XDG_STATE_HOME": str(folder.resolve() / "state")}


def _free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((epics.LOOPBACK, 0))
        return int(probe.getsockname()[1])
