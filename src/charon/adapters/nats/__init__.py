"""NATS JetStream: the server, the inter-step buffers and the ledger's key-value bucket."""

from charon.adapters.nats.connection import NatsConnection
from charon.adapters.nats.edge_reader import EdgeReader
from charon.adapters.nats.edge_writer import EdgeWriter
from charon.adapters.nats.errors import OvertakenError
from charon.adapters.nats.ledger_bucket import LedgerPage
from charon.adapters.nats.server import NatsServer
from charon.adapters.nats.streams import EdgeState
from charon.settings.nats import NatsAddress

__all__ = [
    "EdgeReader",
    "EdgeState",
    "EdgeWriter",
    "LedgerPage",
    "NatsAddress",
    "NatsConnection",
    "NatsServer",
    "OvertakenError",
]
