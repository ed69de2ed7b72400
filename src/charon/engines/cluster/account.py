"""Read the account of frames of a pipeline on a cluster from its ledger."""

from __future__ import annotations

import base64
import binascii
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from charon.adapters.kubernetes import Kubectl, NotFoundOnClusterError, PortForward
from charon.adapters.nats import NatsConnection
from charon.engines.cluster import names
from charon.engines.embedded.snapshot import Snapshot, read_snapshot
from charon.errors import UnavailableError
from charon.settings.nats import NatsAddress
from charon.settings.vertex import ledger_bucket

if TYPE_CHECKING:
    from charon.adapters.nats import EdgeState
    from charon.engines.cluster.observe import ClusterView


async def read_account(kubectl: Kubectl, view: ClusterView, *, ended: bool = False) -> Snapshot:
    """Read the pages of a pipeline's ledger and the backlog of each of its buffers.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    view
        State of the pipeline.
    ended
        Whether the pipeline has drained.

    Raises
    ------
    UnavailableError
        If the inter-step buffer service or its secret does not exist, is not readable, or does not respond.
    """
    user, password = _credentials(kubectl, view)
    service = f"service/{names.nats_service(view.buffer_service)}"
    with PortForward(kubectl, view.namespace, service, names.NATS_PORT) as forward:
        address = NatsAddress(port=forward.port, user=user, password=password)
        bucket = ledger_bucket(view.namespace, view.name)
        bus = await NatsConnection.connect(address, "charonctl", reconnect=False, bucket=bucket)
        try:
            snapshot = await read_snapshot(bus, [], ended=ended)
            return replace(snapshot, edges=await _buffers(bus, view))
        finally:
            await bus.close()


async def _buffers(bus: NatsConnection, view: ClusterView) -> dict[str, EdgeState]:
    """Return the state of each buffer by its name, without those that do not exist yet."""
    states: dict[str, EdgeState] = {}
    for vertex in view.vertices:
        for name in vertex.buffers:
            with suppress(UnavailableError):
                states[name] = await bus.streams.state(name, consumer=name)
    return states


def _credentials(kubectl: Kubectl, view: ClusterView) -> tuple[str, str]:
    name = names.nats_secret(view.buffer_service)
    try:
        data = kubectl.json("get", "secret", name, f"--namespace={view.namespace}").get("data", {})
    except NotFoundOnClusterError as error:
        raise UnavailableError(
            f"secret {name} does not exist in namespace {view.namespace}; create the inter-step buffer service"
        ) from error
    try:
        user, password = (base64.b64decode(data[key]).decode() for key in (names.SECRET_USER, names.SECRET_PASSWORD))
    except (KeyError, binascii.Error, UnicodeDecodeError) as error:
        raise UnavailableError(f"secret {name} does not contain a NATS user and password") from error
    return user, password
