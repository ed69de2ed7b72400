"""One nats-server for each test."""

from __future__ import annotations

import pytest

from charon.adapters.nats import NatsServer


@pytest.fixture
def server(tmp_path):
    """Start a server with its own store."""
    server = NatsServer(tmp_path / "nats")
    server.start()
    yield server
    server.stop()
