"""Quality figures agree with published implementations and ignore a constant offset."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from charon.science.quality import compare_phase, compare_to_sample, ssim_map
from charon.science.simulation import siemens_star


@pytest.fixture
def images() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    truth = ndimage.gaussian_filter(rng.normal(size=(80, 90)), 3.0)
    return truth + 0.3 * truth.std() * rng.normal(size=truth.shape), truth


def test_ssim_agrees_with_scikit_image(images: tuple[np.ndarray, np.ndarray]) -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image (the reference) is not installed")
    first, second = images
    span = float(np.ptp(second))
    _, expected = metrics.structural_similarity(
        first, second, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    similarity = ssim_map(first, second, np.ones(first.shape, np.bool_), span)
    np.testing.assert_allclose(similarity, expected, atol=1e-9)


def test_offset_is_removed(images: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, truth = images
    region = np.ones(truth.shape, np.bool_)
    plain, moved = compare_phase(noisy, truth, region), compare_phase(noisy + 1.7, truth, region)
    assert moved.ssim == pytest.approx(plain.ssim, abs=1e-9)
    assert moved.pearson_r == pytest.approx(plain.pearson_r, abs=1e-9)
    assert moved.offset_rad == pytest.approx(plain.offset_rad + 1.7)
    assert 0.3 < plain.ssim < 0.99


def test_pixels_outside_the_region_are_ignored(images: tuple[np.ndarray, np.ndarray]) -> None:
    _, truth = images
    region = np.zeros(truth.shape, np.bool_)
    region[20:60, 20:60] = True
    altered = np.where(region, truth, 1e6)
    quality = compare_phase(altered, truth, region)
    assert quality.ssim == pytest.approx(1.0, abs=1e-9)
    assert quality.pearson_r == pytest.approx(1.0)
    assert quality.pixels == 1600


def test_canvas_is_compared_at_its_position() -> None:
    sample = siemens_star((200, 200))
    phase = np.angle(sample.transmission)[30:150, 40:170]
    weight = np.ones(phase.shape)
    weight[:5] = 0.1
    x, y = sample.origin_m
    quality = compare_to_sample(phase, weight, (x + 40 * 10e-9, y + 30 * 10e-9), 10e-9, sample)
    assert quality.pearson_r == pytest.approx(1.0, abs=1e-6)
    assert quality.pixels == 115 * 130
    shifted = compare_to_sample(phase, weight, (x + 55 * 10e-9, y + 30 * 10e-9), 10e-9, sample)
    assert shifted.pearson_r < 0.8


def test_invalid_comparison_raises(images: tuple[np.ndarray, np.ndarray]) -> None:
    noisy, truth = images
    with pytest.raises(ValueError, match="the region to compare is empty"):
        compare_phase(noisy, truth, np.zeros(truth.shape, np.bool_))
    with pytest.raises(ValueError, match="constant"):
        compare_phase(noisy, np.zeros_like(truth), np.ones(truth.shape, np.bool_))
    with pytest.raises(ValueError, match="shapes differ"):
        compare_phase(noisy, truth[1:], np.ones(truth.shape, np.bool_))
