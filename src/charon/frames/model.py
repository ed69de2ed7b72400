"""What travels: frames, patches, rejections and late positions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

Scalar = str | int | float | bool | None
"""A value that an attribute of a frame may have."""

Position = tuple[float, float]
"""A scan position (x, y) in metres: x grows with the column, y with the row; it is the patch's centre."""


@dataclass(frozen=True, slots=True, order=True)
class FrameId:
    """Which frame this is, by what the detector alone says of it.

    Parameters
    ----------
    channel
        The pvAccess channel that carried the frame.
    unique_id
        The detector's ``uniqueId``; it begins again when the detector restarts.
    time_ns
        The detector's own time stamp in ns since 1970; 0 where it sends none.
    epoch_ns
        Time stamp of the first frame of the run of rising ``unique_id`` that this one belongs to, as
        its reader saw it. It groups frames for accounting and is no part of the name: two readers of
        one channel may have joined at different frames.
    """

    channel: str
    unique_id: int
    time_ns: int
    epoch_ns: int = 0

    @property
    def name(self) -> str:
        """The name under which the frame is counted, the same for every reader of the channel."""
        return f"{self.channel}/{self.time_ns}/{self.unique_id}"


@dataclass(frozen=True, slots=True)
class Frame:
    """One detector image on its way to inference.

    Parameters
    ----------
    id
        Which frame.
    image
        Detector counts, (row, column), any NTNDArray integer or float type; binned and cropped where
        the source was told to.
    scan
        Name of the scan, from the frame's attributes or made from the epoch.
    position_m
        Scan position (x, y) in m where known.
    attributes
        What else the detector attached.
    times_ns
        Time stamp of each stage passed, ns since 1970, by the clock of the machine it ran on:
        ``received``, ``accepted``, ``inferred``, ``stitched``.

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
            message = f"frame {self.id.name}: an image has 2 dimensions, this one {self.image.ndim}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Patch:
    """One reconstructed patch of the sample.

    Parameters
    ----------
    id
        The frame it was made from.
    run
        Name of the pipeline's run.
    phase
        Phase of the object in rad, (row, column), floating point.
    amplitude
        Amplitude of the object (1 = no absorption), shaped as `phase`, where the network gives it.
    pixel_m
        Size of a pixel of the patch in m.
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
            message = f"patch {self.id.name}: a phase is a 2-D float array, not {self.phase.dtype}{self.phase.shape}"
            raise ValueError(message)
        if self.amplitude is not None and self.amplitude.shape != self.phase.shape:
            message = f"patch {self.id.name}: amplitude {self.amplitude.shape} beside a phase {self.phase.shape}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A frame that will not become a patch, and why; it travels to the sinks like a patch.

    Parameters
    ----------
    id
        Which frame.
    reason
        One of a few fixed words, to count by (see `charon.errors.Reason`).
    detail
        One sentence that names what is wrong.
    vertex
        Where it was rejected.
    """

    id: FrameId
    reason: str
    detail: str
    vertex: str
    scan: str = ""
    times_ns: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True)
class LatePosition:
    """A scan position that came on a channel of its own, to be matched by detector time.

    Parameters
    ----------
    channel
        The frames' channel that it belongs to.
    time_ns
        Time stamp, by the detector's clock, of the frame that it belongs to.
    position_m
        Scan position (x, y) in m.
    """

    channel: str
    time_ns: int
    position_m: Position

    @property
    def name(self) -> str:
        """The name under which the position is counted once."""
        return f"{self.channel}/{self.time_ns}/position"


def named_time_ns(name: str) -> int:
    """Return the detector's time stamp in ns that the name of a frame or of a late position holds; 0 for none."""
    return int(name.rsplit("/", 2)[1])


Message = Frame | Patch | Rejection | LatePosition
"""Anything that travels between vertices."""
