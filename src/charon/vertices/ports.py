"""Interfaces between a vertex and its engine; vertices depend on these and not on an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.ledger.pages import Page


class Delivery(Protocol):
    """A message delivered to a vertex; it is redelivered unless the vertex acknowledges it."""

    @property
    def payload(self) -> bytes:
        """The message in its wire format."""
        ...

    @property
    def attempt(self) -> int:
        """Number of this delivery of the message, counted from 1."""
        ...

    async def ack(self, result: bytes | None = None, /) -> None:
        """Acknowledge the message, after every outlet has confirmed its result.

        Parameters
        ----------
        result
            The message that the vertex produced. An engine without outlets returns it to the requester; the
            others ignore it.
        """
        ...

    async def in_progress(self) -> None:
        """Extend the time until redelivery."""
        ...

    async def release(self) -> None:
        """Return the message unprocessed, for immediate redelivery."""
        ...


class Inlet(Protocol):
    """Source of a vertex's messages."""

    async def batch(self, max_messages: int, linger_s: float) -> Sequence[Delivery]:
        """Return waiting messages, at most `max_messages`.

        Waits for the first message, then at most `linger_s` for more. Returns an empty sequence if no message
        arrives within the engine's timeout.
        """
        ...

    async def close(self) -> None:
        """Stop delivering; messages that are not acknowledged are redelivered to other replicas."""
        ...


class Outlet(Protocol):
    """Destination of a vertex's messages."""

    async def send(self, payload: bytes, name: str) -> bool:
        """Publish a message and return, once it is confirmed, whether its name was new.

        Waits while the buffer is full or unavailable, which is the pipeline's back-pressure.

        Parameters
        ----------
        payload
            The message in its wire format.
        name
            Identifies the message: repeats under the same name count once.
        """
        ...


class Ledger(Protocol):
    """One replica's page of the ledger, which the account of frames and the replica's successor read."""

    async def load(self) -> Page | None:
        """Return the latest page of this replica, or None if it has none.

        Raises
        ------
        ValueError
            If it is not a valid page.
        """
        ...

    async def save(self, page: Page) -> None:
        """Replace the page.

        Raises
        ------
        UnavailableError
            If the ledger does not respond.
        """
        ...
