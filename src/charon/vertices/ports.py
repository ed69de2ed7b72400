"""What a vertex asks of the engine around it; the vertex never learns which engine that is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Delivery(Protocol):
    """One message handed to a vertex, to be handed out again unless it is acknowledged."""

    @property
    def payload(self) -> bytes:
        """The message in its wire format."""
        ...

    @property
    def attempt(self) -> int:
        """How often the message has been handed out, this time included; 1 the first time."""
        ...

    async def ack(self) -> None:
        """Say that the message is dealt with: what came of it is confirmed further on."""
        ...

    async def in_progress(self) -> None:
        """Say that the message is being worked on, so that it is not handed out again yet."""
        ...

    async def release(self) -> None:
        """Give the message back at once, undone."""
        ...


class Inlet(Protocol):
    """Where a vertex's messages come from."""

    async def batch(self, maximum: int, linger_s: float) -> Sequence[Delivery]:
        """Return what waits, up to a maximum; wait for the first message, then `linger_s` at most for more.

        An empty answer means that nothing came for a while.
        """
        ...

    async def close(self) -> None:
        """Stop handing out messages; those not acknowledged go to others."""
        ...


class Outlet(Protocol):
    """Where a vertex's messages go."""

    async def send(self, payload: bytes, name: str, answers: Delivery | None = None) -> bool:
        """Hand over a message and return when it is confirmed: whether it was new under its name.

        While the buffer is full or away this waits: that is the back-pressure.

        Parameters
        ----------
        payload
            The message in its wire format.
        name
            What it is counted under.
        answers
            The message that it came of, where it came of one: on some engines an answer goes back the way
            of its question.
        """
        ...


class Ledger(Protocol):
    """Where a vertex writes down what it has done, for the account of frames and for its successor."""

    async def load(self) -> Mapping[str, Any] | None:
        """Return what this replica's predecessor wrote last, if there was one."""
        ...

    async def save(self, document: Mapping[str, Any]) -> None:
        """Write the document in place of the last one."""
        ...
