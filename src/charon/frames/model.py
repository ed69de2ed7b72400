"""Messages between vertices: frames, patches, rejections and late positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Scalar = str | int | float | bool | None
"""Value of a frame's attribute."""

Position = tuple[float, float]
"""Scan position (x, y) in m, the centre of a patch: x increases with the column, y with the row."""


@dataclass(frozen=True, slots=True, order=True)
class FrameId:
    """Frame id: identifies a frame by the values that the detector assigned to it.

    Parameters
    ----------
    channel
        Name of the frame's channel.
    unique_id
        The detector's ``uniqueId``; a restarted detector reuses the numbers.
    time_ns
        Detector time: the detector's own time stamp in ns since 1970; 0 if it sends none.
    epoch_ns
        Detector time of the first frame of the epoch, as the frame's reader received it. It groups frames for
        accounting and is not part of the name: two readers of one channel may have joined at different frames.
    """

    channel: str
    unique_id: int
    time_ns: int
    epoch_ns: int = 0

    @property
    def name(self) -> str:
        """The frame id as a string, equal for all readers of the channel."""
        return f"{self.channel}/{self.time_ns}/{self.unique_id}"


@dataclass(frozen=True, slots=True)
class Frame:
    """A detector image with its metadata.

    Parameters
    ----------
    id
        The frame id.
    image
        Detector counts, (row, column), any integer or float type of an NTNDArray; cropped and binned if the source
        has a model.
    scan
        Name of the scan, from the frame's attributes or derived from the epoch.
    position_m
        Scan position (x, y) in m; None if unknown.
    attributes
        Other attributes of the frame.
    times_ns
        Time of each completed stage (``received``, ``accepted``, ``inferred``, ``stitched``) in ns since 1970, by the
        clock of the machine that ran it.

    Raises
    ------
    ValueError
        If the image is not two-dimensional.
    """

    id: FrameId
    image: NDArray[np.generic]
    scan: str = ""
    position_m: Position | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    times_ns: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        if self.image.ndim != 2:
            raise ValueError(f"frame {self.id.name}: image has {self.image.ndim} dimensions instead of 2")


@dataclass(frozen=True, slots=True)
class Patch:
    """A reconstructed patch of the sample.

    Parameters
    ----------
    id
        Id of the frame from which it was reconstructed.
    run
        Name of the run.
    phase
        Phase of the object in rad, (row, column), floating point.
    amplitude
        Amplitude of the object (1 = no absorption), with the shape of `phase`; None if the network does not
        reconstruct it.
    pixel_m
        Pixel size of the patch in m.
    model
        Name and version of the model, ``name@version``.
    scan, position_m, attributes, times_ns
        As in `Frame`.

    Raises
    ------
    ValueError
        If `phase` is not a two-dimensional array of floats or `amplitude` has another shape.
    """

    id: FrameId
    run: str
    phase: NDArray[np.floating]
    pixel_m: float
    model: str
    amplitude: NDArray[np.floating] | None = None
    scan: str = ""
    position_m: Position | None = None
    attributes: Mapping[str, Scalar] = field(default_factory=dict[str, Scalar])
    times_ns: Mapping[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        if self.phase.ndim != 2 or self.phase.dtype.kind != "f":
            raise ValueError(
                f"patch {self.id.name}: phase is {self.phase.dtype}{self.phase.shape} instead of a 2-D float array"
            )
        if self.amplitude is not None and self.amplitude.shape != self.phase.shape:
            raise ValueError(
                f"patch {self.id.name}: amplitude has shape {self.amplitude.shape}, phase has {self.phase.shape}"
            )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A rejected frame and the reason; it is forwarded to the sinks like a patch.

    Parameters
    ----------
    id
        The frame id.
    reason
        Category of the fault, by which rejections are counted: see `charon.errors.Reason`.
    detail
        One sentence that describes the fault.
    vertex
        Name of the vertex that rejected the frame.
    scan, times_ns
        As in `Frame`.
    """

    id: FrameId
    reason: str
    detail: str
    vertex: str
    scan: str = ""
    times_ns: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class LatePosition:
    """A scan position that arrived on its own channel; it is matched to a frame by detector time.

    Parameters
    ----------
    channel
        Name of the frame's channel.
    time_ns
        Detector time of the frame.
    position_m
        Scan position (x, y) in m.
    """

    channel: str
    time_ns: int
    position_m: Position

    @property
    def name(self) -> str:
        """The message id of the position."""
        return f"{self.channel}/{self.time_ns}/position"


def detector_time_ns(name: str) -> int:
    """Return the detector time in a message id, of a frame or of a late position."""
    return int(name.rsplit("/", 2)[1])


Message = Frame | Patch | Rejection | LatePosition
"""A message between vertices."""
