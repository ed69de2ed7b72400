"""Free ports, and environments in which a test's processes use pvAccess on loopback only."""

from __future__ import annotations

import os
import socket

LOOPBACK = "127.0.0.1"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a free TCP port, or a free UDP port for ``SOCK_DGRAM``."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def isolated_environment(*prefixes: str, **variables: str) -> dict[str, str]:
    """Return this process's environment with pvAccess on loopback and a free port.

    Parameters
    ----------
    prefixes
        Prefixes of variables to remove, in addition to those of Charon and EPICS.
    variables
        Variables to set.
    """
    port = str(free_port(socket.SOCK_DGRAM))
    removed = ("EPICS_", "CHARON_", *prefixes)
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(removed)},
        "EPICS_PVA_ADDR_LIST": LOOPBACK,
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVAS_INTF_ADDR_LIST": LOOPBACK,
        "EPICS_PVA_BROADCAST_PORT": port,
        "EPICS_PVAS_BROADCAST_PORT": port,
        **variables,
    }
