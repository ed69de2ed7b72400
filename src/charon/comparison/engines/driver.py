"""What a comparison requires of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


class Driver(Protocol):
    """One run of an engine on this machine.

    Parameters
    ----------
    worker
        Name of the inference process that the part ``recovery`` kills.
    client_delay_s
        Time that the engine needs to be ready when its first process has connected to the detector.
    """

    worker: str
    client_delay_s: float

    def start(self) -> None:
        """Start the engine; return without waiting until it is ready."""
        ...

    def failure(self) -> str | None:
        """Return why the engine has ended, or None while it runs."""
        ...

    def processes(self) -> Mapping[str, int]:
        """Return the process ids of the engine by name, such as ``cat.0``; a process that is restarting is missing.

        Raises
        ------
        UnavailableError
            If they cannot be read now.
        """
        ...

    def records(self) -> NDArray[np.void]:
        """Return all records of frames so far, (n,) of `charon.ledger.frame_log.RECORD`."""
        ...

    def drain(self, timeout_s: float) -> list[str]:
        """Drain and end the engine; return what a reader of the report must know, one line each.

        Raises
        ------
        UnavailableError
            If it has not drained after the timeout, so that its account of frames is not final.
        """
        ...

    def kill(self) -> None:
        """End every process of the engine immediately; without effect if it has ended."""
        ...
