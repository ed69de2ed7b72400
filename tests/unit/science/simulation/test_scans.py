"""Scans have the requested step and are centred on the sample."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import KDTree

from charon.science.simulation import from_route, make_scan, raster, snake, spiral, with_jitter


def test_raster_follows_x_and_is_centred() -> None:
    points = raster(3, 5, 1e-7)
    assert points.shape == (15, 2)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-20)
    np.testing.assert_allclose(np.diff(points[:5], axis=0), np.tile([1e-7, 0.0], (4, 1)), atol=1e-20)


def test_snake_moves_one_step_at_a_time() -> None:
    steps = np.linalg.norm(np.diff(snake(7, 9, 1e-7), axis=0), axis=1)
    np.testing.assert_allclose(steps, 1e-7, rtol=1e-9)
    assert {tuple(p) for p in snake(7, 9)} == {tuple(p) for p in raster(7, 9)}


def test_spiral_points_are_evenly_spaced() -> None:
    points = spiral(2000, 1e-7)
    nearest = KDTree(points).query(points, k=2)[0][:, 1]
    assert np.percentile(nearest, 5) > 0.6e-7
    assert np.percentile(nearest, 95) < 1.1e-7


def test_make_scan_returns_exact_count() -> None:
    for pattern in ("raster", "snake", "spiral"):
        assert make_scan(pattern, 963).shape == (963, 2)


def test_route_is_scaled_and_validated() -> None:
    np.testing.assert_allclose(from_route([0, 1], [2, 3], 1e-7), [[0, 2e-7], [1e-7, 3e-7]])
    with pytest.raises(ValueError, match="finite"):
        from_route([0, np.nan], [0, 0])
    with pytest.raises(ValueError, match="step_m"):
        raster(2, 2, 0.0)


def test_jitter_depends_only_on_seed() -> None:
    points = raster(30, 30)
    moved = with_jitter(points, 5e-9, 3)
    np.testing.assert_array_equal(moved, with_jitter(points, 5e-9, 3))
    assert np.std(moved - points) == pytest.approx(5e-9, rel=0.1)
