"""Stitching: average patches at their scan positions on a canvas that grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.science.resample import Axis, StitchError, complex_planes, interpolate, patch_axis, profile_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charon.frames import Position

__all__ = ["Canvas", "StitchError", "StitchedImage"]

_BLOCK = 256
_MIN_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class StitchedImage:
    """Stitched image of the patches so far.

    Parameters
    ----------
    phase
        Phase in rad, float32, (row, column); NaN outside the patches.
    amplitude
        Amplitude (1 = no absorption), float32, with the shape of `phase`; NaN outside the patches.
    weight
        Sum of the weights of the patches, float32, with the shape of `phase`.
    transmission
        ``amplitude * exp(i phase)``, complex64, with the shape of `phase`; 0 outside the patches.
    origin_m
        Position (x, y) in m of the centre of pixel [0, 0].
    pixel_m
        Pixel size in m.
    """

    phase: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    weight: NDArray[np.float32]
    transmission: NDArray[np.complex64]
    origin_m: Position
    pixel_m: float


class Canvas:
    """Weighted sums of patches, from which the image can be computed at any time.

    Each patch adds ``w a exp(i phi)`` to a complex sum and ``w`` to a sum of weights, so phases are averaged on the
    circle and the order of arrival has no effect. The weight is a squared sine across the patch: it falls to 0 at the
    edge, where little light reached the sample. It is multiplied by a Gaussian if the radius of the probe is known, or
    by the profile of the probe if that is known. Patches are interpolated linearly as complex numbers; the weight is
    evaluated at the exact position.

    The grid is anchored at position 0, so the same patches give the same pixels in any order. The sums have double
    precision, because a pixel may receive many patches.

    Parameters
    ----------
    pixel_m
        Pixel size of the canvas in m; patches with another pixel size are resampled.
    weight_radius_m
        Standard deviation in m of the Gaussian part of the weight; None for the squared sine alone.
    weight_profile
        Weight of a patch pixel at a distance of 0, 1, 2... patch pixels from the centre, 0 beyond. It replaces the
        Gaussian. A defocused zone plate illuminates a ring, and the network's output in its dark centre is unreliable.
    max_pixels
        Largest area of the canvas in pixels of 24 bytes; a position that needs more is rejected.
    anchor_m
        A position (x, y) in m that the image must include. It decides which of two distant areas the image shows.

    References
    ----------
    Averages on a circle: Mardia and Jupp, Directional Statistics, doi:10.1002/9780470316979.
    """

    def __init__(
        self,
        pixel_m: float,
        weight_radius_m: float | None = None,
        max_pixels: int = 1 << 24,
        anchor_m: Position | None = None,
        weight_profile: tuple[float, ...] | None = None,
    ) -> None:
        if not (math.isfinite(pixel_m) and pixel_m > 0.0):
            raise StitchError(f"invalid pixel size of the canvas: {pixel_m} m")
        self.pixel_m = pixel_m
        self.patches = 0
        self._radius_m = None if weight_profile else weight_radius_m
        self._profile = weight_profile
        self._max_pixels = max_pixels
        self._sums: NDArray[np.floating] = np.zeros((3, 0, 0))
        self._corner = (0, 0)
        self._box: tuple[int, int, int, int] | None = None
        self._anchor = None if anchor_m is None else (round(anchor_m[1] / pixel_m), round(anchor_m[0] / pixel_m))

    def add(
        self,
        phase: NDArray[np.floating],
        position_m: Position,
        amplitude: NDArray[np.floating] | None = None,
        *,
        pixel_m: float | None = None,
        name: str = "",
    ) -> None:
        """Add a patch.

        Parameters
        ----------
        phase
            Phase in rad, (row, column), at least 2x2.
        position_m
            Centre (x, y) of the patch in m: pixel (r, c) of an (H, W) patch is at
            ``y + (r - H/2) pixel_m``, ``x + (c - W/2) pixel_m``.
        amplitude
            Amplitude, with the shape of `phase`; None for 1.
        pixel_m
            Pixel size of the patch in m; None for the pixel size of the canvas.
        name
            Frame id, for error messages.

        Raises
        ------
        StitchError
            If the position, the phase or the amplitude is not finite, or the canvas would exceed its largest area. The
            canvas is unchanged.
        """
        if not (math.isfinite(position_m[0]) and math.isfinite(position_m[1])):
            raise StitchError(f"patch {name}: position {position_m} m is not finite")
        planes = complex_planes(phase, amplitude, name)
        if self._profile is not None:
            pixel_weight = profile_weight(self._profile, planes.shape[1:])
            planes = np.concatenate([planes * pixel_weight, pixel_weight[None]])
        scale = 1.0 if pixel_m is None or math.isclose(pixel_m, self.pixel_m) else self.pixel_m / pixel_m
        radius = math.inf if self._radius_m is None else self._radius_m * scale / self.pixel_m
        rows = patch_axis(position_m[1] / self.pixel_m, phase.shape[0], scale, radius)
        columns = patch_axis(position_m[0] / self.pixel_m, phase.shape[1], scale, radius)
        self._include(rows, columns, position_m, name)
        weighted = interpolate(planes, rows, columns, scale)
        r, c = rows.first - self._corner[0], columns.first - self._corner[1]
        target = self._sums[:, r : r + rows.count, c : c + columns.count]
        np.add(target[: len(weighted)], weighted, out=target[: len(weighted)])
        if self._profile is None:
            np.add(target[2], np.multiply.outer(rows.weight, columns.weight), out=target[2])
        self.patches += 1

    def snapshot(self) -> Canvas:
        """Return a copy in single precision, for use on another thread."""
        copy = Canvas(self.pixel_m, self._radius_m, self._max_pixels, weight_profile=self._profile)
        copy.patches, copy._box = self.patches, self._box
        if self._box is not None:
            copy._corner = self._box[:2]
            copy._sums = self._sums_in_box().astype(np.float32)
        return copy

    def image(self, min_weight: float = _MIN_WEIGHT) -> StitchedImage:
        """Return the image of all patches so far.

        Parameters
        ----------
        min_weight
            Pixels with a smaller sum of weights are NaN (1 is the centre of one patch). Hardly any light reached the
            sample at the edge of the image, and the network's output there is unreliable.
        """
        real, imaginary, weight = self._sums_in_box().astype(np.float32, copy=False)
        unknown = ~(weight >= min_weight)
        per_weight = np.divide(1.0, weight, out=np.zeros_like(weight), where=~unknown)
        transmission = np.empty(weight.shape, np.complex64)
        transmission.real, transmission.imag = real * per_weight, imaginary * per_weight
        phase, amplitude = np.arctan2(imaginary, real), np.hypot(real, imaginary) * per_weight
        phase[unknown] = amplitude[unknown] = np.nan
        row, column = (0, 0) if self._box is None else self._box[:2]
        origin_m = (column * self.pixel_m, row * self.pixel_m)
        return StitchedImage(phase, amplitude, weight, transmission, origin_m, self.pixel_m)

    def _sums_in_box(self) -> NDArray[np.floating]:
        """Return a view of the sums within the bounding box of the patches, (sum, row, column)."""
        if self._box is None:
            return self._sums
        top, left, bottom, right = self._box
        r, c = self._corner
        return self._sums[:, top - r : bottom - r, left - c : right - c]

    def _include(self, rows: Axis, columns: Axis, position_m: Position, name: str) -> None:
        """Extend the bounding box, and the canvas if needed, to a patch."""
        box = (rows.first, columns.first, rows.first + rows.count, columns.first + columns.count)
        if self._box is not None:
            old = self._box
            box = (min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3]))
        row, column = self._anchor or box[:2]
        height = max(box[2], row) - min(box[0], row)
        width = max(box[3], column) - min(box[1], column)
        if height * width > self._max_pixels:
            raise StitchError(
                f"patch {name}: position ({position_m[0]:g}, {position_m[1]:g}) m is too far from the other patches: "
                f"the image would have {width}x{height} pixels, more than the limit of {self._max_pixels}"
            )
        self._box = box
        r, c = self._corner
        if not (
            r <= box[0] and c <= box[1] and box[2] <= r + self._sums.shape[1] and box[3] <= c + self._sums.shape[2]
        ):
            self._grow(box)

    def _grow(self, box: tuple[int, int, int, int]) -> None:
        """Move the sums to an array that is larger by entire blocks, so that this is rare."""
        top, left = (edge // _BLOCK * _BLOCK for edge in box[:2])
        bottom, right = (-(-edge // _BLOCK) * _BLOCK for edge in box[2:])
        if self._sums.size:
            top, left = min(top, self._corner[0]), min(left, self._corner[1])
            bottom = max(bottom, self._corner[0] + self._sums.shape[1])
            right = max(right, self._corner[1] + self._sums.shape[2])
        grown = np.zeros((3, bottom - top, right - left))
        r, c = self._corner[0] - top, self._corner[1] - left
        if self._sums.size:
            grown[:, r : r + self._sums.shape[1], c : c + self._sums.shape[2]] = self._sums
        self._sums, self._corner = grown, (top, left)
