"""Options of the baseline on one machine, and the command lines of its programs."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.engines.pvapy import processor_file, stitch_processor_file
from charon.settings.baseline import METRICS_PORT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SERVER_QUEUE_SIZE = 250
"""Updates in the monitor's queue of a connection, as in `charon.adapters.pvaccess.monitor`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineOptions:
    """Options of the baseline.

    Parameters
    ----------
    channel, output_channel
        Channel of the detector, and channel for the results.
    model, backend, threads, max_batch
        As in `charon.settings.baseline.ConsumerSettings`; of each consumer.
    consumers
        Number of consumers, which share the frames.
    queue_size
        Updates in PvaPy's receiver queue, and frames that wait for inference; of each consumer.
    metrics_port
        Port of the metrics on loopback; 0 selects a free port.
    folder
        Folder for logs and records.
    images
        Folder for the stitched images; None stitches nothing.
    """

    channel: str
    output_channel: str
    model: str
    folder: Path
    backend: str = "openvino"
    threads: int = 0
    max_batch: int = 8
    consumers: int = 1
    queue_size: int = 500
    metrics_port: int = METRICS_PORT
    images: Path | None = None

    @property
    def mirror_channel(self) -> str:
        """Channel of the mirror server."""
        return f"{self.channel}:mirror"

    def output_of(self, consumer: int) -> str:
        """Return the output channel of a consumer; each has its own if there are several."""
        return self.output_channel if self.consumers == 1 else f"{self.output_channel}:{consumer}"

    def log_of(self, consumer: int) -> Path:
        """Return the file with the records of a consumer."""
        return self.folder / f"frames-{consumer}.bin"

    @property
    def stitch_log(self) -> Path:
        """File with the records of the stitching consumer."""
        return self.folder / "stitched.bin"


def mirror_command(options: BaselineOptions) -> list[str]:
    """Return the command of the mirror server."""
    entry = f"({options.mirror_channel},{options.channel},pva,{_SERVER_QUEUE_SIZE})"
    return [sys.executable, "-u", "-m", "pvapy.cli.mirrorServer", "--channel-map", entry]


def consumer_command(options: BaselineOptions, consumer: int) -> list[str]:
    """Return the command of a consumer; consumers are numbered from 1."""
    arguments = {
        "model": options.model,
        "backend": options.backend,
        "threads": options.threads,
        "max_batch": options.max_batch,
        "queue_size": options.queue_size,
        "shared": options.consumers > 1,
        "metrics_port": None,
        "log": str(options.log_of(consumer)),
    }
    values = {
        "consumer-id": consumer,
        "input-channel": options.mirror_channel,
        "output-channel": options.output_of(consumer),
        "processor-file": processor_file(),
        "processor-class": "PtychographyProcessor",
        "processor-args": json.dumps(arguments),
        **(_DISTRIBUTOR if options.consumers > 1 else {}),
    }
    return _command(options, values)


def stitcher_command(options: BaselineOptions) -> list[str]:
    """Return the command of the stitching consumer, which subscribes to the results of all consumers.

    PvaPy's consumer has one input channel; the others are its metadata channels.
    """
    channels = [options.output_of(k + 1) for k in range(options.consumers)]
    arguments = {
        "model": options.model,
        "output": str(options.images),
        "channel": options.channel,
        "further_channels": channels[1:],
        "log": str(options.stitch_log),
    }
    values = {
        "consumer-id": options.consumers + 1,
        "input-channel": channels[0],
        "processor-file": stitch_processor_file(),
        "processor-class": "StitchProcessor",
        "processor-args": json.dumps(arguments),
    }
    if channels[1:]:
        values["metadata-channels"] = ",".join(f"pva://{channel}" for channel in channels[1:])
    return _command(options, values)


def _command(options: BaselineOptions, values: Mapping[str, object]) -> list[str]:
    command = [sys.executable, "-u", "-m", "pvapy.cli.hpcConsumer", "--disable-curses"]
    common = {
        "server-queue-size": _SERVER_QUEUE_SIZE,
        "receiver-queue-size": options.queue_size,
        "skip-initial-updates": 0,
    }
    return command + [part for name, value in {**values, **common}.items() for part in (f"--{name}", str(value))]


_DISTRIBUTOR = {"distributor-updates": 1, "distributor-group": "charon", "distributor-trigger": "uniqueId"}
