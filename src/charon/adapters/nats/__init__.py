"""NATS JetStream: the server, the inter-step buffers and the ledger kept beside them."""

from charon.adapters.nats.buffer import EdgeReader, EdgeWriter
from charon.adapters.nats.connection import Address, EdgeState, NatsConnection, OvertakenError
from charon.adapters.nats.server import NatsServer

__all__ = ["Address", "EdgeReader", "EdgeState", "EdgeWriter", "NatsConnection", "NatsServer", "OvertakenError"]
