"""Channels of images that this process publishes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil

from charon.adapters.pvaccess.ntndarray_builder import ntndarray_from
from charon.adapters.pvaccess.pvapy import PvStructure, pva
from charon.errors import UsageError
from charon.settings import epics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from charon.frames import Scalar


class ImageServer:
    """Publishes NTNDArray channels, and others beside them, for as long as its context lasts.

    EPICS's own variables decide where it listens (``EPICS_PVAS_INTF_ADDR_LIST``,
    ``EPICS_PVAS_SERVER_PORT``, ``EPICS_PVAS_BROADCAST_PORT``); where the first is not set it listens on
    loopback alone.

    Parameters
    ----------
    channels
        Names of the image channels; each holds an empty NTNDArray until the first `post`.
    structures
        Channels of another form, each with its first value.

    Raises
    ------
    UsageError
        On entering, if ``EPICS_PVAS_SERVER_PORT`` names a port that is in use. Without that variable a
        server whose usual port is taken by another finds a free one by itself. Likewise if
        ``EPICS_PVAS_INTF_ADDR_LIST`` names an address that this machine does not have.
    """

    def __init__(self, channels: Sequence[str], structures: Mapping[str, PvStructure] | None = None) -> None:
        self.channels = tuple(channels)
        self._structures = dict(structures or {})
        self._server: Any = None
        self.ports: set[int] = set()
        """TCP ports that it listens on."""

    def __enter__(self) -> Self:
        epics.set_server_defaults()
        _require_free_port()
        before = _listening_ports()
        try:
            self._server = pva.PvaServer()
        except RuntimeError as error:
            where = epics.server_interfaces()
            raise UsageError(f"no pvAccess server can listen at EPICS_PVAS_INTF_ADDR_LIST={where}") from error
        for channel in self.channels:
            # The server shares this object with the record: it is never touched again.
            self._server.addRecord(channel, pva.NtNdArray())
        for channel, first in self._structures.items():
            self._server.addRecord(channel, first.copy())
        self._server.start()
        self.ports = _listening_ports() - before
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.stop()
        self._server = None

    def post(
        self,
        channel: str,
        image: NDArray[Any],
        *,
        unique_id: int,
        time_ns: int,
        attributes: Mapping[str, Scalar] | None = None,
        codec: str | None = None,
    ) -> None:
        """Publish one image; see `charon.adapters.pvaccess.ntndarray_builder.ntndarray_from`."""
        self.post_structure(channel, ntndarray_from(image, unique_id, time_ns, attributes, codec))

    def post_structure(self, channel: str, pv: PvStructure) -> None:
        """Publish a value as it is, all of its fields in one update."""
        self._server.update(channel, pv)

    def has_client(self) -> bool:
        """Return whether a client is connected.

        PvaPy does not say who monitors a channel; a connection to the server's port is the nearest that
        can be known. The monitor follows it within milliseconds.
        """
        connections = psutil.Process().net_connections("tcp")
        return any(c.status == psutil.CONN_ESTABLISHED and c.laddr.port in self.ports for c in connections)


def _listening_ports() -> set[int]:
    connections = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}


def _require_free_port() -> None:
    """Fail clearly where pvAccess would quietly take another port than the one that was asked for."""
    named = epics.server_port()
    if not named:
        return
    # By what listens, not by binding: connections of a server that has just ended keep its port from being
    # bound for a minute, and then pvAccess's other port is right. Nor by connecting, which would hold up
    # the other server's end for five seconds.
    listening = {c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr}
    for address in listening:
        if str(address.port) == named:
            raise UsageError(f"port {named} (EPICS_PVAS_SERVER_PORT) is in use: a server listens on {address.ip}")
