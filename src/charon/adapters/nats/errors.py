"""Errors of JetStream and their descriptions."""

from __future__ import annotations


class OvertakenError(ValueError):
    """Another process has written a ledger page since it was read."""


class RejectedError(Exception):
    """The server rejected a message.

    Parameters
    ----------
    code
        JetStream's error code; see `charon.adapters.nats.error_codes`.
    description
        Description by the server.
    """

    def __init__(self, code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.description = description


def describe(error: BaseException) -> str:
    """Return the server's description of an error, which nats-py's ``str`` surrounds with its own fields."""
    # An exception is always true, even if its text is empty.
    description = getattr(error, "description", None) or str(error)
    return description or ("timed out" if isinstance(error, TimeoutError) else repr(error))
