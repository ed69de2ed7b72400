"""Settings of a consumer of the PvaPy baseline, from the JSON of ``--processor-args``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import Field, ValidationError

from charon.errors import UsageError
from charon.settings.base import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

_Model = TypeVar("_Model", bound=Settings)

METRICS_PORT = 9100
"""Default port of the baseline's metrics."""


class ConsumerSettings(Settings):
    """Settings of one consumer.

    Parameters
    ----------
    model
        Model bundle: a name or a folder.
    backend
        Inference back end.
    threads
        Number of CPU threads; 0 uses half of the cores.
    max_batch
        Maximum number of frames in a batch.
    queue_size
        Maximum number of frames that wait for inference.
    shared
        Whether other consumers receive a part of the frames, so that a gap is not a missed frame.
    metrics_host, metrics_port
        Address of the metrics; no port means that this process serves none, 0 selects a free port.
    log
        File to which a record of each frame is appended.
    """

    model: str = "ptychonn2-sim"
    backend: str = "openvino"
    threads: int = Field(default=0, ge=0)
    max_batch: int = Field(default=8, ge=1)
    queue_size: int = Field(default=500, ge=1)
    shared: bool = False
    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(default=METRICS_PORT, ge=0, le=65535)
    log: Path | None = None


class StitcherSettings(Settings):
    """Settings of the stitching consumer.

    Parameters
    ----------
    model
        Model bundle, whose card contains the pixel size and the weight of a patch.
    output
        Folder for the image and the patches of each scan.
    channel
        Channel of the detector, for the names of the frames.
    further_channels
        Output channels of the consumers except the first.
    log
        File to which a record of each patch is appended.
    """

    model: str = "ptychonn2-sim"
    output: Path
    channel: str = "ad:image"
    further_channels: tuple[str, ...] = ()
    log: Path


def read_consumer_settings(config: Mapping[str, Any]) -> ConsumerSettings:
    """Return the settings in a processor's configuration; see `read_processor_settings`."""
    return read_processor_settings(ConsumerSettings, config)


def read_processor_settings(model: type[_Model], config: Mapping[str, Any]) -> _Model:
    """Return the settings in a processor's configuration, in which PvaPy adds values of its own in camel case.

    Raises
    ------
    UsageError
        If a setting is unknown or invalid.
    """
    values = {name: value for name, value in config.items() if name.islower()}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"--processor-args: {path}: {first['msg']}; correct or remove it") from error
