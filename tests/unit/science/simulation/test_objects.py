"""Samples are reproducible and within the phase range that networks are trained on."""

from __future__ import annotations

import numpy as np
import pytest

from charon.science.simulation import demo_sample, random_shapes, siemens_star, tungsten_test_pattern
from charon.science.simulation.shapes import convex_polygon, draw


@pytest.mark.parametrize("make", [demo_sample, siemens_star, tungsten_test_pattern])
def test_samples_span_empty_to_full_thickness(make) -> None:
    sample = make()
    phase = np.angle(sample.transmission)
    assert sample.transmission.dtype == np.complex64
    assert phase.min() == pytest.approx(-0.8, abs=1e-3)
    assert phase.max() == pytest.approx(0.0, abs=1e-6)
    assert 0.05 < np.mean(phase < -0.4) < 0.6
    np.testing.assert_array_equal(sample.transmission, make().transmission)


def test_sample_is_centred_on_the_scan() -> None:
    sample = siemens_star((200, 300))
    assert sample.origin_m == pytest.approx((-150 * 10e-9, -100 * 10e-9))


def test_training_objects_vary_with_seed_in_range() -> None:
    objects = [random_shapes((192, 192), seed).transmission for seed in range(12)]
    again = random_shapes((192, 192), 3).transmission
    np.testing.assert_array_equal(objects[3], again)
    phases = np.angle(objects)
    amplitudes = np.abs(objects)
    assert phases.min() >= -1.2 - 1e-5
    assert phases.max() <= 0.3 + 1e-5
    assert amplitudes.min() >= 0.5
    assert len({float(phase.mean()) for phase in phases}) == len(objects)


def test_soft_edges_conserve_area() -> None:
    layer = np.zeros((64, 64), np.float32)
    draw(layer, convex_polygon([(-10.25, -7.5), (-10.25, 7.5), (10.25, 7.5), (10.25, -7.5)]), (31.3, 30.8), 20)
    assert layer.sum() == pytest.approx(20.5 * 15.0, rel=0.01)
