"""Options of the embedded engine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from charon.settings.base import Settings


class Options(Settings):
    """Options of the embedded engine.

    Parameters
    ----------
    output
        Folder for results, logs and the files of the buffers.
    storage
        Storage of the buffers: ``memory``, or ``file``, which survives a crash of the nats-server.
    buffer_bytes
        Size limit of each edge's buffer.
    ack_wait_s
        Time after which an unacknowledged message is redelivered.
    nats_port
        TCP port of the nats-server on loopback; 0 selects a free one.
    environment
        Additional environment variables of every vertex.
    frame_log
        Folder of the frame logs, one file per replica; None writes none.
    metrics_port
        TCP port on loopback for the run's metrics; 0 selects a free one, None serves no metrics.
    """

    output: Path
    storage: Literal["memory", "file"] = "memory"
    buffer_bytes: int = Field(default=2 * 2**30, gt=0)
    ack_wait_s: float = Field(default=3.0, gt=0)
    nats_port: int = Field(default=0, ge=0, le=65535)
    environment: dict[str, str] = Field(default_factory=dict[str, str])
    frame_log: Path | None = None
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
