"""Scan positions in metres, centred on (0, 0)."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Positions: TypeAlias = npt.NDArray[np.float64]
Pattern: TypeAlias = Literal["raster", "snake", "spiral"]

DEFAULT_STEP_M = 0.1e-6


def raster(rows: int, columns: int, step_m: float = DEFAULT_STEP_M) -> Positions:
    """Return a scan line by line, each line from its left end.

    Parameters
    ----------
    rows, columns
        Number of lines, and of points per line.
    step_m
        Distance between neighbouring points and between lines.

    Returns
    -------
    ndarray
        (rows * columns, 2) float64, x and y in m.
    """
    _require_positive(rows=rows, columns=columns, step_m=step_m)
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float64)
    points = np.stack([x.ravel() - (columns - 1) / 2, y.ravel() - (rows - 1) / 2], axis=1)
    return points * step_m


def snake(rows: int, columns: int, step_m: float = DEFAULT_STEP_M) -> Positions:
    """Return a scan line by line, with every second line reversed; see `raster`."""
    points = raster(rows, columns, step_m).reshape(rows, columns, 2)
    points[1::2] = points[1::2, ::-1].copy()
    return points.reshape(-1, 2)


def spiral(count: int, step_m: float = DEFAULT_STEP_M) -> Positions:
    """Return a scan along an Archimedean spiral from the centre outwards.

    Parameters
    ----------
    count
        Number of points.
    step_m
        Distance between neighbouring points along the spiral, and between its turns.

    Returns
    -------
    ndarray
        (count, 2) float64, x and y in m.

    Notes
    -----
    The radius is ``step * angle / (2 pi)``. The arc length grows with the square of the angle, so points at
    equal distances have angles that grow with the square root of the index.
    """
    _require_positive(count=count, step_m=step_m)
    angle = np.sqrt(4.0 * math.pi * np.arange(count, dtype=np.float64))
    radius = step_m * angle / (2.0 * math.pi)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def from_route(x: npt.ArrayLike, y: npt.ArrayLike, step_m: float = DEFAULT_STEP_M) -> Positions:
    """Scale a route that was recorded in steps, and keep its order.

    Parameters
    ----------
    x, y
        (N,) in steps.
    step_m
        Length of a step.

    Returns
    -------
    ndarray
        (N, 2) float64, x and y in m.
    """
    points = np.stack([np.asarray(x, np.float64), np.asarray(y, np.float64)], axis=-1)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(f"route x and y must be 1-D, finite and of equal length, got shape {points.shape}")
    _require_positive(step_m=step_m)
    return points * step_m


def with_jitter(positions: Positions, sigma_m: float, seed: int) -> Positions:
    """Add normally distributed jitter, like that of stages that settle imperfectly; it depends only on the seed.

    Parameters
    ----------
    positions
        (N, 2) float64, m.
    sigma_m
        Standard deviation along each axis.
    seed
        Random seed.
    """
    return positions + np.random.default_rng(seed).normal(0.0, sigma_m, positions.shape)


def make_scan(pattern: Pattern, count: int, step_m: float = DEFAULT_STEP_M) -> Positions:
    """Return the first `count` points of a scan that is about as wide as it is high.

    Parameters
    ----------
    pattern
        ``raster``, ``snake`` or ``spiral``.
    count
        Number of points.
    step_m
        Distance between neighbours.

    Returns
    -------
    ndarray
        (count, 2) float64, x and y in m.
    """
    _require_positive(count=count)
    if pattern == "spiral":
        return spiral(count, step_m)
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    lines = raster if pattern == "raster" else snake
    return lines(rows, columns, step_m)[:count]


def _require_positive(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value}")
