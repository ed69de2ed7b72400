"""What Numaflow and the manifest tell a vertex's container, through its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charon.errors import UsageError
from charon.settings.nats import NatsAddress

if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKETS = "/var/run/numaflow"


@dataclass(frozen=True, slots=True)
class NumaflowSettings:
    """Who a container is in the pipeline, and what it is to use.

    Parameters
    ----------
    namespace, pipeline, vertex, replica
        Names that Numaflow gives; a pod that takes another's place has its replica's number.
    sockets
        Folder that the pod's containers share: the servers' sockets, and what outlives this container but
        not its pod.
    ledger
        The nats-server that keeps the pages of the account; None where there is none.
    metrics_host, metrics_port
        Where to serve the vertex's page for Prometheus; a port of None serves none. A scrape comes from another
        pod, so the default is every address of this one.
    drain_s
        Most seconds to go on after SIGTERM. Kubernetes gives 30 by default.
    """

    namespace: str
    pipeline: str
    vertex: str
    replica: int
    sockets: Path = Path(_SOCKETS)
    ledger: NatsAddress | None = None
    metrics_host: str = "0.0.0.0"  # noqa: S104 - a pod's own addresses
    metrics_port: int | None = None
    drain_s: float = 20.0

    @property
    def page(self) -> str:
        """Key of this replica's page in the ledger."""
        return f"{self.vertex}.{self.replica}"

    @property
    def bucket(self) -> str:
        """Name of the ledger's bucket."""
        return bucket_of(self.namespace, self.pipeline)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> NumaflowSettings:
        """Read the settings.

        Raises
        ------
        UsageError
            If a variable that Numaflow sets is missing, or one has a value of another form.
        """
        try:
            vertex, pipeline = environment["NUMAFLOW_VERTEX_NAME"], environment["NUMAFLOW_PIPELINE_NAME"]
        except KeyError as missing:
            raise UsageError(f"{missing.args[0]} is not set: on Numaflow, Numaflow starts charon-vertex") from None
        url = environment.get("CHARON_LEDGER", "")
        port = environment.get("CHARON_METRICS_PORT", "")
        return cls(
            namespace=environment.get("NUMAFLOW_NAMESPACE", "default"),
            pipeline=pipeline,
            vertex=vertex,
            replica=int(_number("NUMAFLOW_REPLICA", environment.get("NUMAFLOW_REPLICA", "0"))),
            sockets=Path(environment.get("CHARON_NUMAFLOW_SOCKETS", _SOCKETS)),
            ledger=_address(url, environment) if url else None,
            metrics_host=environment.get("CHARON_METRICS_HOST", "0.0.0.0"),  # noqa: S104 - as above
            metrics_port=int(_number("CHARON_METRICS_PORT", port, 65536)) if port else None,
            drain_s=_number("CHARON_DRAIN_S", environment.get("CHARON_DRAIN_S", "20")),
        )


def started_by_numaflow(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether Numaflow started this process, or it was told to take it so."""
    engine = environment.get("CHARON_ENGINE")
    return engine == "numaflow" or (engine is None and "NUMAFLOW_VERTEX_NAME" in environment)


def bucket_of(namespace: str, pipeline: str) -> str:
    """Return the name of the bucket that holds a pipeline's ledger; names of Kubernetes hold no underscore."""
    return f"charon_{namespace}_{pipeline}"


def _address(url: str, environment: Mapping[str, str]) -> NatsAddress:
    user, password = environment.get("CHARON_LEDGER_USER", ""), environment.get("CHARON_LEDGER_PASSWORD", "")
    try:
        return NatsAddress.from_url(url, user, password)
    except UsageError as error:
        raise UsageError(f"CHARON_LEDGER: {error}") from None


def _number(name: str, text: str, below: float = 1e6) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0.0 <= number < below:
        raise UsageError(f"{name} is {text!r}: it takes a number from 0 up, below {below:.0f}")
    return number
