"""Descriptions of nats-py's errors are never empty."""

from __future__ import annotations

import pytest
from nats.errors import NoServersError
from nats.js.errors import ServerError

from charon.adapters.nats.errors import describe


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "timed out"),
        (NoServersError(), "nats: no servers available for connection"),
        (ServerError(code=500, err_code=10023, description="insufficient resources"), "insufficient resources"),
        (ConnectionResetError(), "ConnectionResetError()"),
    ],
)
def test_description_states_the_cause(error, text):
    assert describe(error) == text
