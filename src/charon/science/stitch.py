"""Stitching: patches at their scan positions, averaged on one canvas that grows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from charon.frames import Position

    Planes = NDArray[np.float32]

_BLOCK = 256
_LEAST_WEIGHT = 1e-3
_SAME_SCALE = 1e-9


class PlacementError(ValueError):
    """A patch cannot be put on the canvas; the text names it and says why."""


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
    origin_m
        Position (x, y) in m of the centre of pixel [0, 0].
    pixel_m
        Size of a pixel in m.
    """

    phase: NDArray[np.float32]
    amplitude: NDArray[np.float32]
    weight: NDArray[np.float32]
    origin_m: Position
    pixel_m: float


@dataclass(frozen=True, slots=True)
class _Axis:
    """Where a patch falls along one axis: `count` canvas pixels from `first` on.

    They are read from the patch at `source`, with `weight`, which is shared out between the patch's
    pixels before and after that place.
    """

    first: int
    source: NDArray[np.float64]
    count: int
    size: int
    weight: NDArray[np.float32]
    before: NDArray[np.float32]
    after: NDArray[np.float32]


class Canvas:
    """Sums of patches, from which the image follows at any moment.

    Each patch adds ``w a exp(i phi)`` to a complex sum and ``w`` to a sum of weights, so that a phase
    which wraps is averaged on the circle and no order of arrival is preferred. The weight is a squared
    sine across the patch, which fades to nothing at its edge, where little light fell on the sample;
    a Gaussian narrows it further where the probe's radius is known. Between pixels a patch is
    interpolated linearly, as a complex number, and the weight is taken at the exact place.

    The grid is anchored at position 0, so the same patches give the same pixels whichever came first.
    The sums are double precision: a pixel may see very many patches.

    Parameters
    ----------
    pixel_m
        Size of the canvas's pixel in m; a patch of another size is resampled to it.
    weight_radius_m
        Standard deviation in m of the Gaussian part of the weight; None for the squared sine alone.
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
    ) -> None:
        if not (math.isfinite(pixel_m) and pixel_m > 0.0):
            raise PlacementError(f"a canvas needs the size of its pixel in m, not {pixel_m}")
        self.pixel_m = pixel_m
        self.patches = 0
        self._radius_m = weight_radius_m
        self._max_pixels = max_pixels
        self._sums = np.zeros((3, 0, 0))
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
        planes = _complex_planes(phase, amplitude, name)
        scale = 1.0 if pixel_m is None else self.pixel_m / pixel_m
        if abs(scale - 1.0) < _SAME_SCALE:
            scale = 1.0
        radius = math.inf if self._radius_m is None else self._radius_m * scale / self.pixel_m
        rows = _axis(position_m[1] / self.pixel_m, phase.shape[0], scale, radius)
        columns = _axis(position_m[0] / self.pixel_m, phase.shape[1], scale, radius)
        self._make_room(rows, columns, position_m, name)
        placed = _interpolated(planes, rows, columns, scale)
        r, c = rows.first - self._corner[0], columns.first - self._corner[1]
        target = self._sums[:, r : r + rows.count, c : c + columns.count]
        np.add(target[:2], placed, out=target[:2])
        np.add(target[2], np.multiply.outer(rows.weight, columns.weight), out=target[2])
        self.patches += 1

    def snapshot(self) -> Canvas:
        """Return a copy that another thread may read while this one goes on."""
        copy = Canvas(self.pixel_m, self._radius_m, self._max_pixels)
        copy.patches, copy._box = self.patches, self._box
        if self._box is not None:
            copy._corner = self._box[:2]
            copy._sums = self._boxed().copy()
        return copy

    def image(self, least_weight: float = _LEAST_WEIGHT) -> StitchedImage:
        """Return the image of all patches so far.

        Parameters
        ----------
        least_weight
            A pixel whose sum of weights is less (1 = the middle of one patch) is NaN.
        """
        sums = self._boxed().astype(np.float32)
        weight = sums[2]
        nothing = ~(weight >= least_weight)
        phase = np.arctan2(sums[1], sums[0])
        phase[nothing] = np.nan
        amplitude = np.hypot(sums[0], sums[1])
        np.divide(amplitude, weight, out=amplitude, where=~nothing)
        amplitude[nothing] = np.nan
        row, column = (0, 0) if self._box is None else self._box[:2]
        return StitchedImage(phase, amplitude, weight, (column * self.pixel_m, row * self.pixel_m), self.pixel_m)

    def _boxed(self) -> NDArray[np.float64]:
        """Return the part of the sums that patches have touched, (sum, row, column), as a view."""
        if self._box is None:
            return self._sums
        top, left, bottom, right = self._box
        r, c = self._corner
        return self._sums[:, top - r : bottom - r, left - c : right - c]

    def _make_room(self, rows: _Axis, columns: _Axis, position_m: Position, name: str) -> None:
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


def _complex_planes(phase: NDArray[np.floating], amplitude: NDArray[np.floating] | None, name: str) -> Planes:
    """Return ``a cos(phi)`` and ``a sin(phi)``, (2, row, column): 14 times faster than ``exp(1j * phi)``."""
    total = np.add.reduce(phase, axis=None)
    if amplitude is not None:
        total = total + np.add.reduce(amplitude, axis=None)
    if not np.isfinite(total):
        raise PlacementError(f"patch {name}: it holds values that are not finite")
    planes = np.empty((2, *phase.shape), np.float32)
    np.cos(phase, out=planes[0], casting="same_kind")
    np.sin(phase, out=planes[1], casting="same_kind")
    if amplitude is not None:
        np.multiply(planes, amplitude, out=planes, casting="same_kind")
    return planes


def _axis(centre: float, size: int, scale: float, radius: float) -> _Axis:
    """Return the canvas pixels that lie within a patch; `centre` in canvas pixels, `size` and `radius` in its own."""
    first = math.ceil(centre - size / 2 / scale)
    start = (first - centre) * scale + size / 2
    # At the canvas's own scale the last pixel only ever lends to the one before it.
    count = size - 1 if scale == 1.0 else max(math.floor((size - 1 - start) / scale) + 1, 1)
    source = start + scale * _counting(count)
    weight = np.sin((source + 0.5) * (math.pi / size)) ** 2
    if radius != math.inf:
        weight *= np.exp(-0.5 * ((source + 0.5 - size / 2) / radius) ** 2)
    part = source - np.floor(source) if scale != 1.0 else start
    before, after = ((1.0 - part) * weight).astype(np.float32), (part * weight).astype(np.float32)
    return _Axis(first, source, count, size, weight.astype(np.float32), before, after)


@lru_cache(maxsize=64)
def _counting(count: int) -> NDArray[np.float64]:
    return np.arange(count, dtype=np.float64)


def _interpolated(planes: Planes, rows: _Axis, columns: _Axis, scale: float) -> Planes:
    """Return the planes, weighted, at the canvas's pixels: one axis after the other."""
    upper, lower = _neighbours(planes, rows, scale, 1)
    part: Planes = np.multiply(upper, rows.before[:, None])
    part += np.multiply(lower, rows.after[:, None])
    left, right = _neighbours(part, columns, scale, 2)
    result: Planes = np.multiply(left, columns.before)
    result += np.multiply(right, columns.after)
    return result


def _neighbours(planes: Planes, axis: _Axis, scale: float, dim: int) -> tuple[Planes, Planes]:
    """Return the samples on either side of each place that is read; slices where the scale is the canvas's own."""
    if scale == 1.0:
        before = (slice(None),) * dim
        return planes[(*before, slice(0, axis.count))], planes[(*before, slice(1, axis.count + 1))]
    index = np.floor(axis.source).astype(np.intp)
    return planes.take(index, axis=dim), planes.take(np.minimum(index + 1, axis.size - 1), axis=dim)
