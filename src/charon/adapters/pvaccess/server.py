"""A pvAccess server for image channels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psutil

from charon.adapters.pvaccess.ntndarray_builder import build_ntndarray
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
    """Publishes NTNDArray channels, and channels of other types, while its context is open.

    ``EPICS_PVAS_INTF_ADDR_LIST``, ``EPICS_PVAS_SERVER_PORT`` and ``EPICS_PVAS_BROADCAST_PORT`` determine where
    it listens. Without the first, it listens on loopback only.

    Parameters
    ----------
    channels
        Names of the image channels; each contains an empty NTNDArray until the first `post`.
    structures
        Channels of other types, each with its initial value.

    Raises
    ------
    UsageError
        On entering, if ``EPICS_PVAS_SERVER_PORT`` is in use (without that variable, a server picks a free port
        if the default one is in use), or if this machine has no address in ``EPICS_PVAS_INTF_ADDR_LIST``.
    """

    def __init__(self, channels: Sequence[str], structures: Mapping[str, PvStructure] | None = None) -> None:
        self.channels = tuple(channels)
        self._structures = dict(structures or {})
        self._server: Any = None
        self.ports: set[int] = set()
        """TCP ports that the server listens on."""

    def __enter__(self) -> Self:
        epics.set_server_defaults()
        _require_free_port()
        before = _listening_ports()
        try:
            self._server = pva.PvaServer()
        except RuntimeError as error:
            addresses = epics.server_interfaces()
            raise UsageError(
                f"cannot listen on EPICS_PVAS_INTF_ADDR_LIST={addresses}; set it to addresses of this machine"
            ) from error
        for channel in self.channels:
            # The server shares this object with the record, so it must not be modified.
            self._server.addRecord(channel, pva.NtNdArray())
        for channel, initial in self._structures.items():
            self._server.addRecord(channel, initial.copy())
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
        """Publish one image; see `charon.adapters.pvaccess.ntndarray_builder.build_ntndarray`."""
        self.post_structure(channel, build_ntndarray(image, unique_id, time_ns, attributes, codec))

    def post_structure(self, channel: str, pv: PvStructure) -> None:
        """Publish all fields of a structure in one update."""
        self._server.update(channel, pv)

    def count_clients(self) -> int:
        """Return the number of clients that are connected.

        PvaPy does not report the monitors of a channel, so this counts the connections to the server's port: a client
        process opens one for all its channels. It starts its monitors within milliseconds of connecting.
        """
        connections = psutil.Process().net_connections("tcp")
        return sum(c.status == psutil.CONN_ESTABLISHED and c.laddr.port in self.ports for c in connections)


def _listening_ports() -> set[int]:
    connections = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}


def _require_free_port() -> None:
    """Raise if the configured port is in use: pvAccess would silently pick another one."""
    port = epics.server_port()
    if not port:
        return
    # Not by binding: connections of a server that has just stopped block its port for a minute, and pvAccess
    # should then pick another one. Not by connecting: it would delay the other server's shutdown by five seconds.
    listening = {c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.laddr}
    for address in listening:
        if str(address.port) == port:
            raise UsageError(f"port {port} (EPICS_PVAS_SERVER_PORT) is in use by a server on {address.ip}")
