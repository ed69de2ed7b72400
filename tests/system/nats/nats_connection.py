"""Connections for the tests of NATS."""

from __future__ import annotations

from contextlib import asynccontextmanager

from charon.adapters.nats import NatsConnection


@asynccontextmanager
async def connected(server, name="test"):
    connection = await NatsConnection.connect(server.address, name)
    try:
        yield connection
    finally:
        await connection.close()
