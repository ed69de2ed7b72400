"""Defaults of the EPICS variables that pvAccess reads: everything stays on loopback unless they are set."""

from __future__ import annotations

from charon.settings import environment

LOOPBACK = "127.0.0.1"
DEFAULT_BROADCAST_PORT = 5076
_CLIENT = {"EPICS_PVA_ADDR_LIST": LOOPBACK}
_SERVER = {"EPICS_PVAS_INTF_ADDR_LIST": LOOPBACK}
_LOOPBACK_ONLY = {**_CLIENT, **_SERVER, "EPICS_PVA_AUTO_ADDR_LIST": "NO"}


def set_client_defaults() -> None:
    """Search loopback as well as the network: a client's broadcast does not reach a server bound to loopback."""
    environment.set_defaults(_CLIENT)


def set_server_defaults() -> None:
    """Listen on loopback only."""
    environment.set_defaults(_SERVER)


def set_loopback_only() -> None:
    """Search and listen on loopback only."""
    environment.set_defaults(_LOOPBACK_ONLY)


def isolated(broadcast_port: int) -> dict[str, str]:
    """Return the variables of processes that only find each other: on loopback, with a UDP port for searches."""
    port = str(broadcast_port)
    return {**_LOOPBACK_ONLY, "EPICS_PVA_BROADCAST_PORT": port, "EPICS_PVAS_BROADCAST_PORT": port}


def search_addresses() -> list[str]:
    """Return the names and addresses that clients search, without ports."""
    entries = environment.get("EPICS_PVA_ADDR_LIST").split()
    return [entry if ":" not in entry else entry.rpartition(":")[0] for entry in entries]


def server_interfaces() -> str:
    """Return the addresses that a server of this process listens on."""
    return environment.get("EPICS_PVAS_INTF_ADDR_LIST")


def server_port() -> str:
    """Return the TCP port that is configured for servers; an empty string if no port is configured."""
    return environment.get("EPICS_PVAS_SERVER_PORT")


def has_broadcast_port() -> bool:
    """Return whether a UDP port for searches is configured."""
    return bool(environment.get("EPICS_PVA_BROADCAST_PORT"))


def set_broadcast_port(port: int) -> None:
    """Use a UDP port for searches, in clients and servers."""
    environment.update({"EPICS_PVA_BROADCAST_PORT": str(port), "EPICS_PVAS_BROADCAST_PORT": str(port)})
