"""How the embedded engine runs a pipeline."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path  # noqa: TC003 - the dataclass reads its annotations
from typing import Literal


@dataclass(frozen=True, slots=True)
class Options:
    """How the embedded engine runs a pipeline.

    Parameters
    ----------
    output
        Folder for results, logs and the buffers' files.
    storage
        Where buffers live: ``memory``, or ``file`` to survive the death of the nats-server.
    buffer_bytes
        Bound of each edge's buffer.
    ack_wait_s
        After this long a message that nobody acknowledged is handed out again.
    environment
        Added to every vertex's environment.
    metrics_port
        Where to serve the run's metrics on loopback, 0 for a free port; None serves none.
    """

    output: Path
    storage: Literal["memory", "file"] = "memory"
    buffer_bytes: int = 2 * 2**30
    ack_wait_s: float = 3.0
    nats_port: int = 0
    environment: dict[str, str] = field(default_factory=dict[str, str])
    metrics_port: int | None = None
