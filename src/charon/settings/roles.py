"""Settings of the vertices, from the options of ``charon-vertex``."""

from __future__ import annotations

from pathlib import Path

from charon.settings.base import Settings


class SourceSettings(Settings):
    """Settings of a source.

    Parameters
    ----------
    channel
        pvAccess channel of the detector.
    model
        Model bundle that defines crop and binning; None forwards frames unchanged.
    ring_bytes
        Memory for frames that wait for the buffer.
    positions
        Scan file with a position for each frame.
    position_channel
        pvAccess channel with positions that arrive after their frames.
    x_attribute, y_attribute, scan_attribute
        Names of the NTNDArray attributes with position and scan.
    """

    channel: str
    model: str | None = None
    ring_bytes: int
    positions: Path | None = None
    position_channel: str | None = None
    x_attribute: str
    y_attribute: str
    scan_attribute: str


class InferenceSettings(Settings):
    """Settings of inference.

    Parameters
    ----------
    model
        Model bundle: a name or a folder.
    backend
        Inference back end.
    threads
        Number of CPU threads; 0 uses half of the cores.
    linger_s
        Maximum time to wait for a batch to fill.
    delay_s
        Additional time for each batch, for tests of scaling.
    """

    model: str
    backend: str
    threads: int = 0
    linger_s: float
    delay_s: float = 0.0


class ImageSinkSettings(Settings):
    """Settings of the image sink.

    Parameters
    ----------
    output
        Folder for the results.
    model
        Model bundle whose card defines the weight of a patch's pixels.
    viewer_channel
        pvAccess channel for the stitched image.
    viewer_period_s
        Time between two updates of the viewer channel.
    fsync
        Whether patches are acknowledged only when they are on the disk.
    """

    output: Path
    model: str | None = None
    viewer_channel: str | None = None
    viewer_period_s: float
    fsync: bool = True
