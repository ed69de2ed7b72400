"""JetStream API error codes that Charon distinguishes, from nats-server's ``server/errors.json``."""

from __future__ import annotations

INSUFFICIENT_RESOURCES = frozenset({10023, 10028, 10047})
"""The server lacks memory, storage, or either of them."""
BUFFER_FULL = INSUFFICIENT_RESOURCES | {10077}
"""The stream has reached its limit of messages or bytes, or the server lacks resources."""
MESSAGE_TOO_LARGE = 10054
NO_STREAM = 503
"""HTTP-like status of a message to a subject that no stream captures."""
STREAM_UPDATE_INVALID = 10052
"""A property of a stream cannot be changed, such as its storage."""
