"""Rasterise simple shapes with soft edges one pixel wide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Layer: TypeAlias = npt.NDArray[np.float32]
Distance: TypeAlias = Callable[[npt.NDArray[np.float32], npt.NDArray[np.float32]], npt.NDArray[np.float32]]

# Five columns by seven rows; each number is a row, and its bits are the columns from the left.
_GLYPHS: dict[str, tuple[int, ...]] = {
    "A": (14, 17, 17, 31, 17, 17, 17),
    "C": (14, 17, 16, 16, 16, 17, 14),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "N": (17, 25, 21, 19, 17, 17, 17),
    "O": (14, 17, 17, 17, 17, 17, 14),
    "R": (30, 17, 17, 30, 20, 18, 17),
    "W": (17, 17, 17, 21, 21, 27, 17),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "4": (2, 6, 10, 18, 31, 2, 2),
}


def draw(layer: Layer, distance: Distance, centre: tuple[float, float], reach: float, height: float = 1.0) -> None:
    """Set a layer to a height inside a shape, in place.

    Parameters
    ----------
    layer
        (rows, columns) float32; soft edges blend the shape with the previous content.
    distance
        Function of rows and columns relative to the centre (arrays that broadcast); returns the signed
        distance to the edge in pixels, negative inside.
    centre
        Row and column of the shape.
    reach
        Maximum distance of the shape's edge from its centre, in pixels.
    height
        Value of the layer inside the shape.
    """
    top, bottom = _span(centre[0], reach, layer.shape[0])
    left, right = _span(centre[1], reach, layer.shape[1])
    if top >= bottom or left >= right:
        return
    rows = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(centre[0])
    columns = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(centre[1])
    cover = np.clip(0.5 - distance(rows, columns), 0.0, 1.0)
    window = layer[top:bottom, left:right]
    window += cover * (np.float32(height) - window)


def _span(centre: float, reach: float, length: int) -> tuple[int, int]:
    return max(0, int(np.floor(centre - reach - 1))), min(length, int(np.ceil(centre + reach + 2)))


def disc(radius: float) -> Distance:
    """Return a disc with a radius in pixels."""
    return lambda rows, columns: np.hypot(rows, columns) - np.float32(radius)


def ring(radius: float, width: float) -> Distance:
    """Return a ring with a mean radius and a width in pixels."""
    return lambda rows, columns: np.abs(np.hypot(rows, columns) - np.float32(radius)) - np.float32(width / 2)


def box(height: float, width: float, angle: float = 0.0) -> Distance:
    """Return a rectangle with a height and a width in pixels, rotated by an angle in rad."""
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))

    def distance(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        along = np.abs(cosine * columns + sine * rows) - np.float32(width / 2)
        across = np.abs(cosine * rows - sine * columns) - np.float32(height / 2)
        return np.maximum(along, across)

    return distance


def convex_polygon(corners: Sequence[tuple[float, float]]) -> Distance:
    """Return a convex polygon with corners (row, column) in pixels, ordered by angle."""
    points = np.asarray(corners, np.float32)
    sides = np.roll(points, -1, axis=0) - points
    normals = np.stack([-sides[:, 1], sides[:, 0]], axis=1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    # Normals point away from the mean of the corners, for either orientation of the polygon.
    inward = np.sum(normals * (points.mean(axis=0) - points), axis=1)
    normals[inward > 0] *= -1
    offsets = np.sum(normals * points, axis=1)

    def distance(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        distances = [n[0] * rows + n[1] * columns - o for n, o in zip(normals, offsets, strict=True)]
        return np.maximum.reduce(distances)

    return distance


def spokes(count: int, outer: float, inner: float, phase: float = 0.0) -> Distance:
    """Return a Siemens star with equal spokes and gaps between two radii in pixels, rotated by `phase` in rad."""

    def distance(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        radius = np.hypot(rows, columns)
        wave = np.sin(np.float32(count) * (np.arctan2(rows, columns) + np.float32(phase)))
        # To first order, the distance is the angle from the nearest edge times the radius.
        edge = -np.arcsin(np.clip(wave, -1.0, 1.0)) * radius / np.float32(count)
        return np.maximum(np.maximum(edge, radius - np.float32(outer)), np.float32(inner) - radius)

    return distance


def grating(pitch: float, size: float, angle: float = 0.0) -> Distance:
    """Return a square grating whose bars fill half of each pitch, rotated by an angle in rad."""
    frame = box(size, size, angle)
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))

    def distance(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        along = cosine * columns + sine * rows
        bars = np.abs((along / np.float32(pitch)) % 1.0 - 0.5) * np.float32(pitch) - np.float32(pitch / 4)
        return np.maximum(frame(rows, columns), bars)

    return distance


def bitmap(bits: npt.NDArray[np.bool_], cell: float) -> Distance:
    """Return a glyph made of square cells, `cell` pixels wide."""
    glyph_rows, glyph_columns = bits.shape

    def distance(rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        row = np.floor(rows / np.float32(cell) + glyph_rows / 2).astype(np.intp)
        column = np.floor(columns / np.float32(cell) + glyph_columns / 2).astype(np.intp)
        inside = (row >= 0) & (row < glyph_rows) & (column >= 0) & (column < glyph_columns)
        filled = inside & bits[np.clip(row, 0, glyph_rows - 1), np.clip(column, 0, glyph_columns - 1)]
        return np.where(filled, np.float32(-1.0), np.float32(1.0))

    return distance


def glyph(character: str) -> npt.NDArray[np.bool_]:
    """Return the (7, 5) bitmap of a character."""
    try:
        rows = _GLYPHS[character]
    except KeyError:
        raise ValueError(f"no glyph for {character!r}; choose from {''.join(_GLYPHS)}") from None
    return np.array([[bool(row >> (4 - column) & 1) for column in range(5)] for row in rows])
