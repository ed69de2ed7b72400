"""The stitched image depends on the patches, not on their order, and averages phases on the circle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from charon.science.stitch import Canvas, StitchError

PIXEL_M = 10e-9
metres = st.floats(-2e-6, 2e-6)


def smooth_phase(x_m, y_m):
    return 0.8 * np.sin(x_m / 0.13e-6) * np.cos(y_m / 0.17e-6) + 0.3 * x_m / 1e-6


def patch_of(function, position_m, shape=(32, 32), pixel_m=PIXEL_M):
    x = position_m[0] + (np.arange(shape[1]) - shape[1] / 2) * pixel_m
    y = position_m[1] + (np.arange(shape[0]) - shape[0] / 2) * pixel_m
    return function(x[None, :], y[:, None]).astype(np.float32)


def pixels_of(image):
    x = image.origin_m[0] + np.arange(image.phase.shape[1]) * image.pixel_m
    y = image.origin_m[1] + np.arange(image.phase.shape[0]) * image.pixel_m
    return x[None, :], y[:, None]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(metres, metres), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_image_is_independent_of_order(positions, random):
    patches = [(patch_of(smooth_phase, p) + 0.1 * k, p) for k, p in enumerate(positions)]
    images = []
    for _ in range(2):
        canvas = Canvas(PIXEL_M)
        for phase, position in patches:
            canvas.add(phase, position)
        images.append(canvas.image())
        random.shuffle(patches)
    first, second = images
    assert first.origin_m == second.origin_m
    np.testing.assert_array_equal(np.isnan(first.phase), np.isnan(second.phase))
    error = np.angle(np.exp(1j * (first.phase - second.phase)))
    # The angle is undefined if opposite phasors cancel; otherwise the sums agree to rounding.
    defined = first.amplitude > 1e-3
    assert np.max(np.abs(error[defined]), initial=0.0) < 1e-3
    np.testing.assert_allclose(first.weight, second.weight, rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.tuples(metres, metres), st.sampled_from([(32, 32), (31, 40), (64, 33)]))
def test_patch_is_interpolated_between_pixels(position, shape):
    canvas = Canvas(PIXEL_M)
    canvas.add(patch_of(smooth_phase, position, shape), position)
    image = canvas.image(min_weight=1e-3)
    truth = smooth_phase(*pixels_of(image))
    inside = ~np.isnan(image.phase)
    assert inside.sum() > 0.7 * shape[0] * shape[1]
    # An offset of one pixel would give an error of 0.08 rad.
    assert np.abs(image.phase - truth)[inside].max() < 2e-3


def test_many_overlapping_patches_give_the_object():
    rng = np.random.default_rng(4)
    canvas = Canvas(PIXEL_M, weight_radius_m=80e-9)
    for position in rng.uniform(-1e-6, 1e-6, (2000, 2)):
        canvas.add(patch_of(smooth_phase, position), tuple(position))
    image = canvas.image()
    inside = ~np.isnan(image.phase)
    assert canvas.patches == 2000
    assert np.abs(image.phase - smooth_phase(*pixels_of(image)))[inside].max() < 2e-3
    assert np.abs(image.amplitude[inside] - 1.0).max() < 5e-3


def test_profile_excludes_dark_centre_of_probe():
    # The patches are wrong in the centre and right on a ring, as those of a defocused zone plate.
    rng = np.random.default_rng(4)
    rows, columns = np.indices((64, 64)) - 32
    radius = np.hypot(rows, columns)
    profile = tuple(np.interp(np.arange(30), [6, 10, 18, 24], [0.0, 1.0, 1.0, 0.0]))
    canvas, plain = Canvas(PIXEL_M, weight_profile=profile), Canvas(PIXEL_M)
    for position in rng.uniform(-1e-6, 1e-6, (2000, 2)):
        patch = np.where((radius < 5) | (radius > 25), 1.0, -0.5).astype(np.float32)
        canvas.add(patch, tuple(position))
        plain.add(patch, tuple(position))
    image = canvas.image()
    assert np.abs(image.phase + 0.5)[~np.isnan(image.phase)].max() < 1e-5
    assert np.nanmax(plain.image().phase) > -0.4


def test_phases_around_pi_average_to_pi():
    canvas = Canvas(PIXEL_M)
    canvas.add(np.full((16, 16), math.pi - 0.2, np.float32), (0.0, 0.0))
    canvas.add(np.full((16, 16), -math.pi + 0.2, np.float32), (0.0, 0.0))
    image = canvas.image()
    inside = ~np.isnan(image.phase)
    assert np.abs(np.abs(image.phase[inside]) - math.pi).max() < 1e-5
    assert np.abs(image.amplitude[inside] - math.cos(0.2)).max() < 1e-5


def test_ramp_that_wraps_in_a_patch_is_kept():
    slope = 2 * math.pi / 0.3e-6

    def ramp(x, y):
        return np.angle(np.exp(1j * (slope * x + 0 * y)))

    canvas = Canvas(PIXEL_M)
    for k in range(30):
        position = (k * 23.7e-9, k * 11.3e-9)
        canvas.add(patch_of(ramp, position), position)
    image = canvas.image(min_weight=0.05)
    x, y = pixels_of(image)
    error = np.angle(np.exp(1j * (image.phase - slope * x - 0 * y)))
    assert np.nanmax(np.abs(error)) < 0.02


def test_missing_amplitude_counts_as_one():
    canvas = Canvas(PIXEL_M)
    phase = np.full((16, 16), 0.5, np.float32)
    canvas.add(phase, (0.0, 0.0), np.full((16, 16), 0.6, np.float32))
    canvas.add(phase, (0.0, 0.0))
    image = canvas.image()
    assert np.nanmax(np.abs(image.amplitude - 0.8)) < 1e-5
    assert np.nanmax(np.abs(image.phase - 0.5)) < 1e-5


@pytest.mark.parametrize("corner", [(-6e-6, 2e-6), (6e-6, 2e-6), (1e-6, -9e-6), (1e-6, 9e-6)])
def test_canvas_grows_in_every_direction(corner):
    canvas = Canvas(PIXEL_M)
    canvas.add(patch_of(smooth_phase, (0.0, 0.0)), (0.0, 0.0))
    before = canvas.image()
    canvas.add(patch_of(smooth_phase, corner), corner)
    image = canvas.image()
    assert np.abs(image.phase - smooth_phase(*pixels_of(image)))[~np.isnan(image.phase)].max() < 2e-3
    assert np.isclose(image.weight.sum(), 2 * before.weight.sum(), rtol=1e-4)
    width, height = (before.phase.shape[1] + abs(corner[0]) / PIXEL_M, before.phase.shape[0] + abs(corner[1]) / PIXEL_M)
    assert abs(image.phase.shape[0] - height) <= 2
    assert abs(image.phase.shape[1] - width) <= 2


@pytest.mark.parametrize("ratio", [0.5, 1.6, 2.0])
def test_patch_with_another_pixel_size_is_resampled(ratio):
    position = (0.2e-6, -0.13e-6)
    canvas = Canvas(PIXEL_M)
    canvas.add(patch_of(smooth_phase, position, (48, 48), PIXEL_M * ratio), position, pixel_m=PIXEL_M * ratio)
    image = canvas.image()
    inside = ~np.isnan(image.phase)
    assert inside.sum() > 0.6 * (48 * ratio) ** 2
    assert np.abs(image.phase - smooth_phase(*pixels_of(image)))[inside].max() < 1e-2


@pytest.mark.parametrize("position", [(1.0, 0.0), (0.0, -1.0), (math.nan, 0.0), (0.0, math.inf)])
def test_distant_position_raises_with_patch_name(position):
    canvas = Canvas(PIXEL_M)
    canvas.add(patch_of(smooth_phase, (0.0, 0.0)), (0.0, 0.0))
    with pytest.raises(StitchError, match="ad:image/7"):
        canvas.add(np.zeros((32, 32), np.float32), position, name="ad:image/7")
    assert canvas.patches == 1
    assert canvas.image().phase.shape == (31, 31)


def test_non_finite_phase_leaves_canvas_unchanged():
    canvas = Canvas(PIXEL_M)
    phase = np.zeros((32, 32), np.float32)
    phase[3, 4] = np.nan
    with pytest.raises(StitchError, match="not finite"):
        canvas.add(phase, (0.0, 0.0), name="7")
    assert canvas.image().phase.size == 0


def test_snapshot_is_independent_of_later_patches():
    canvas = Canvas(PIXEL_M)
    canvas.add(np.full((16, 16), 0.5, np.float32), (0.0, 0.0))
    copy = canvas.snapshot()
    canvas.add(np.full((16, 16), -0.5, np.float32), (0.1e-6, 0.0))
    assert copy.patches == 1
    assert np.nanmin(copy.image().phase) == pytest.approx(0.5)


def test_empty_canvas_has_an_empty_image():
    assert Canvas(PIXEL_M).image().phase.shape == (0, 0)
