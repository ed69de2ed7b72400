"""Stitching: patches at their scan positions, averaged on one canvas that grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.science.placement import Axis, PlacementError, complex_planes, interpolated, patch_axis, profile_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charon.frames import Position

__all__ = ["Canvas", "PlacementError", "StitchedImage"]

_BLOCK = 256
_LEAST_WEIGHT = 0.05


@dataclass(frozen=True, slots=True)
class StitchedImage:
    """The image as far as it is known.

    Parameters
    ----------
    phase
        Phase in rad, float32, (row, column); NaN where no patch lies.
    amplitude
        Amplitude (1 = no absorption), float32, shaped as `phase`; NaN where no patch lies.
    weight
        Sum of the weights of the patches, float32, shaped as `phase`.
    transmission
        ``amplitude * exp(i phase)``, complex64, shaped as `phase`; 0 where no patch lies.
    origin_m
        Position (x, y) in m of the centre of pixel [0, 0].
    pixel_m
        Size of a pixel in m.
    """

    phase: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    weight: NDArray[np.float32]
    transmission: NDArray[np.complex64]
    origin_m: Position
    pixel_m: float


class Canvas:
    """Sums of patches, from which the image follows at any moment.

    Each patch adds ``w a exp(i phi)`` to a complex sum and ``w`` to a sum of weights, so that a phase
    which wraps is averaged on the circle and no order of arrival is preferred. The weight is a squared
    sine across the patch, which fades to nothing at its edge, where little light fell on the sample;
    a Gaussian narrows it further where the probe's radius is known, or its profile where that is.
    Between pixels a patch is interpolated linearly, as a complex number, and the weight is taken at the
    exact place.

    The grid is anchored at position 0, so the same patches give the same pixels whichever came first.
    The sums are double precision: a pixel may see very many patches.

    Parameters
    ----------
    pixel_m
        Size of the canvas's pixel in m; a patch of another size is resampled to it.
    weight_radius_m
        Standard deviation in m of the Gaussian part of the weight; None for the squared sine alone.
    weight_profile
        What a patch's pixel is worth by its distance from the centre, at 0, 1, 2... of the patch's pixels, 0
        beyond; times the squared sine, in place of the Gaussian. A defocused zone plate lights a ring, in whose
        dark middle a network guesses.
    max_pixels
        Largest area of the canvas in pixels; a position that would need more is refused. A pixel
        takes 24 bytes.
    anchor_m
        A position (x, y) in m that lies within the image, whether or not a patch does: it decides
        which of two places far from each other the image is of.

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
            raise PlacementError(f"a canvas needs the size of its pixel in m, not {pixel_m}")
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
            Centre (x, y) of the patch in m: pixel (r, c) of an (H, W) patch lies at
            ``y + (r - H/2) pixel_m``, ``x + (c - W/2) pixel_m``.
        amplitude
            Amplitude, shaped as `phase`; 1 where None.
        pixel_m
            Size of the patch's pixel in m; the canvas's own where None.
        name
            What the patch is called in an error.

        Raises
        ------
        PlacementError
            If the position, the phase or the amplitude is not finite, or the position is farther away
            than the canvas may grow. Nothing has changed then.
        """
        if not (math.isfinite(position_m[0]) and math.isfinite(position_m[1])):
            raise PlacementError(f"patch {name}: its position {position_m} m is not finite")
        planes = complex_planes(phase, amplitude, name)
        if self._profile is not None:
            worth = profile_weight(self._profile, planes.shape[1:])
            planes = np.concatenate([planes * worth, worth[None]])
        scale = 1.0 if pixel_m is None or math.isclose(pixel_m, self.pixel_m) else self.pixel_m / pixel_m
        radius = math.inf if self._radius_m is None else self._radius_m * scale / self.pixel_m
        rows = patch_axis(position_m[1] / self.pixel_m, phase.shape[0], scale, radius)
        columns = patch_axis(position_m[0] / self.pixel_m, phase.shape[1], scale, radius)
        self._make_room(rows, columns, position_m, name)
        placed = interpolated(planes, rows, columns, scale)
        r, c = rows.first - self._corner[0], columns.first - self._corner[1]
        target = self._sums[:, r : r + rows.count, c : c + columns.count]
        np.add(target[: len(placed)], placed, out=target[: len(placed)])
        if self._profile is None:
            np.add(target[2], np.multiply.outer(rows.weight, columns.weight), out=target[2])
        self.patches += 1

    def snapshot(self) -> Canvas:
        """Return a copy, in single precision, that another thread may read while this one goes on."""
        copy = Canvas(self.pixel_m, self._radius_m, self._max_pixels, weight_profile=self._profile)
        copy.patches, copy._box = self.patches, self._box
        if self._box is not None:
            copy._corner = self._box[:2]
            copy._sums = self._boxed().astype(np.float32)
        return copy

    def image(self, least_weight: float = _LEAST_WEIGHT) -> StitchedImage:
        """Return the image of all patches so far.

        Parameters
        ----------
        least_weight
            A pixel whose sum of weights is less (1 = the middle of one patch) is NaN: at the rim of
            the image hardly any light fell on the sample, and what a network says of it is a guess.
        """
        real, imaginary, weight = self._boxed().astype(np.float32, copy=False)
        nothing = ~(weight >= least_weight)
        per_weight = np.divide(1.0, weight, out=np.zeros_like(weight), where=~nothing)
        transmission = np.empty(weight.shape, np.complex64)
        transmission.real, transmission.imag = real * per_weight, imaginary * per_weight
        phase, amplitude = np.arctan2(imaginary, real), np.hypot(real, imaginary) * per_weight
        phase[nothing] = amplitude[nothing] = np.nan
        row, column = (0, 0) if self._box is None else self._box[:2]
        origin_m = (column * self.pixel_m, row * self.pixel_m)
        return StitchedImage(phase, amplitude, weight, transmission, origin_m, self.pixel_m)

    def _boxed(self) -> NDArray[np.floating]:
        """Return the part of the sums that patches have touched, (sum, row, column), as a view."""
        if self._box is None:
            return self._sums
        top, left, bottom, right = self._box
        r, c = self._corner
        return self._sums[:, top - r : bottom - r, left - c : right - c]

    def _make_room(self, rows: Axis, columns: Axis, position_m: Position, name: str) -> None:
        box = (rows.first, columns.first, rows.first + rows.count, columns.first + columns.count)
        if self._box is not None:
            old = self._box
            box = (min(old[0], box[0]), min(old[1], box[1]), max(old[2], box[2]), max(old[3], box[3]))
        row, column = self._anchor or box[:2]
        height = max(box[2], row) - min(box[0], row)
        width = max(box[3], column) - min(box[1], column)
        if height * width > self._max_pixels:
            raise PlacementError(
                f"patch {name}: its position ({position_m[0]:g}, {position_m[1]:g}) m is too far from the others: "
                f"the image would need {width}x{height} pixels, more than {self._max_pixels} in all"
            )
        self._box = box
        r, c = self._corner
        if not (
            r <= box[0] and c <= box[1] and box[2] <= r + self._sums.shape[1] and box[3] <= c + self._sums.shape[2]
        ):
            self._grow(box)

    def _grow(self, box: tuple[int, int, int, int]) -> None:
        """Move the sums to a larger array, by whole blocks so that this is rare."""
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
