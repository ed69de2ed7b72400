"""What the embedded engine tells a vertex's process, through its environment."""

from __future__ import annotations

import os
from dataclasses import dataclass

from charon.settings.nats import NatsAddress

_PREFIX = "CHARON_"
BEGIN = "begin"
"""Key of the ledger's page that lets sources begin; no replica's page is called so, as theirs have a dot."""


@dataclass(frozen=True, slots=True)
class VertexSettings:
    """Who a process is in the pipeline and where its buffers are.

    Parameters
    ----------
    run, vertex, replica
        Name of the run, of the vertex, and which of its replicas.
    address
        Where the run's nats-server is.
    inlets, outlets
        Names of the edges into and out of the vertex.
    read_batch_size
        Most messages to take at once.
    signal
        A source begins when the ledger's page `BEGIN` holds this word: its process can then start beside
        the others, and no frame comes before they are ready for it.
    """

    run: str
    vertex: str
    replica: int
    address: NatsAddress
    inlets: tuple[str, ...] = ()
    outlets: tuple[str, ...] = ()
    read_batch_size: int = 8
    signal: str = ""

    @property
    def page(self) -> str:
        """Key of this replica's page in the ledger."""
        return f"{self.vertex}.{self.replica}"

    def to_environment(self) -> dict[str, str]:
        """Return the settings as environment variables."""
        return {
            f"{_PREFIX}ENGINE": "embedded",
            f"{_PREFIX}RUN": self.run,
            f"{_PREFIX}VERTEX": self.vertex,
            f"{_PREFIX}REPLICA": str(self.replica),
            f"{_PREFIX}NATS_HOST": self.address.host,
            f"{_PREFIX}NATS_PORT": str(self.address.port),
            f"{_PREFIX}NATS_TOKEN": self.address.token,
            f"{_PREFIX}INLETS": ",".join(self.inlets),
            f"{_PREFIX}OUTLETS": ",".join(self.outlets),
            f"{_PREFIX}READ_BATCH_SIZE": str(self.read_batch_size),
            f"{_PREFIX}SIGNAL": self.signal,
        }

    @classmethod
    def from_environment(cls) -> VertexSettings:
        """Read the settings back.

        Raises
        ------
        KeyError
            If the process was not started by the embedded engine.
        """
        get = os.environ
        return cls(
            run=get[f"{_PREFIX}RUN"],
            vertex=get[f"{_PREFIX}VERTEX"],
            replica=int(get[f"{_PREFIX}REPLICA"]),
            address=NatsAddress(
                host=get[f"{_PREFIX}NATS_HOST"],
                port=int(get[f"{_PREFIX}NATS_PORT"]),
                token=get[f"{_PREFIX}NATS_TOKEN"],
            ),
            inlets=tuple(filter(None, get[f"{_PREFIX}INLETS"].split(","))),
            outlets=tuple(filter(None, get[f"{_PREFIX}OUTLETS"].split(","))),
            read_batch_size=int(get[f"{_PREFIX}READ_BATCH_SIZE"]),
            signal=get[f"{_PREFIX}SIGNAL"],
        )
