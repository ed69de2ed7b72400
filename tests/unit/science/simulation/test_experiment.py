"""Simulated frames follow far-field propagation and Poisson statistics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft

from charon.science.simulation import Experiment, Instrument, Sample, diffract, random_shapes, raster, siemens_star
from charon.science.simulation.photon_noise import draw_counts


@pytest.fixture(scope="module")
def sample() -> Sample:
    return random_shapes((320, 320), 5)


def experiment(sample: Sample, **options: Any) -> Experiment:
    return Experiment(Instrument(), sample, raster(3, 3), **options)


def test_diffract_is_padded_fourier_transform() -> None:
    rng = np.random.default_rng(0)
    wave = (rng.normal(size=(1, 32, 32)) + 1j * rng.normal(size=(1, 32, 32))).astype(np.complex64)
    expected = np.abs(scipy.fft.fftshift(scipy.fft.fft2(wave[0], s=(128, 128), norm="ortho"))) ** 2
    np.testing.assert_allclose(diffract(wave, (128, 128)), expected, rtol=1e-3, atol=1e-4)


def test_incoherent_modes_add_intensities() -> None:
    rng = np.random.default_rng(1)
    waves = (rng.normal(size=(3, 32, 32)) + 1j * rng.normal(size=(3, 32, 32))).astype(np.complex64)
    separate = sum(diffract(wave[None], (64, 64)) for wave in waves)
    np.testing.assert_allclose(diffract(waves, (64, 64)), separate, rtol=1e-5)


def test_empty_sample_keeps_flux_and_centre() -> None:
    empty = Sample(np.ones((320, 320), np.complex64), 10e-9, "empty")
    frame = experiment(empty, flux=1e6).expected(4)
    assert frame.shape == (512, 512)
    assert frame.sum() == pytest.approx(1e6, rel=1e-4)
    rows, columns = np.indices(frame.shape)
    centre = (np.sum(rows * frame) / frame.sum(), np.sum(columns * frame) / frame.sum())
    assert centre == pytest.approx((256.0, 256.0), abs=0.5)


def test_frames_depend_only_on_seed_and_index(sample: Sample) -> None:
    first, second = experiment(sample, seed=7), experiment(sample, seed=7)
    frame_5 = second.frame(5)
    np.testing.assert_array_equal(first.frame(0), second.frame(0))
    np.testing.assert_array_equal(first.frame(5), frame_5)
    assert not np.array_equal(first.frame(5), experiment(sample, seed=8).frame(5))


def test_frame_is_continuous_in_position() -> None:
    # The probe is at the centre of the star; on an empty area, a shift would not change the frame at all.
    sample = siemens_star()
    pixel = 10e-9
    positions = np.array([[0.0, 0.0], [0.499 * pixel, 0.0], [0.501 * pixel, 0.0], [pixel, 0.0]])
    frames = [Experiment(Instrument(), sample, positions).expected(i) for i in range(4)]
    half_way = np.abs(frames[1] - frames[2]).sum()
    full_pixel = np.abs(frames[0] - frames[3]).sum()
    # Half-way, the patch's corner jumps by a pixel. The frame must not jump, except for the truncated probe tails.
    assert half_way < 0.15 * full_pixel


def test_frame_has_saturation_and_dead_pixels(sample: Sample) -> None:
    limited = experiment(sample, flux=1e8, saturation=1000, dead_pixels=50, dtype=np.uint16)
    frame = limited.frame(0)
    assert frame.dtype == np.uint16
    assert frame.max() == 1000
    assert limited.dead_mask.sum() == 50
    assert not frame[limited.dead_mask].any()
    assert experiment(sample, flux=1e10).frame(0).max() == np.iinfo(np.int16).max


def test_counts_are_poisson_at_every_level() -> None:
    rng = np.random.default_rng(0)
    expected = np.array([[0.0, 0.05, 0.5], [1.9, 2.1, 40.0]], np.float32)
    draws = np.array([draw_counts(expected, rng) for _ in range(20_000)])
    np.testing.assert_allclose(draws.mean(axis=0), expected, rtol=0.05)
    np.testing.assert_allclose(draws.var(axis=0), expected, rtol=0.06)
    correlation = np.corrcoef(draws.reshape(len(draws), -1)[:, 1:].T)
    assert np.abs(correlation - np.eye(5)).max() < 0.03


@pytest.mark.parametrize(
    ("options", "message"),
    [({"flux": 0.0}, "flux"), ({"saturation": 70_000}, "saturation"), ({"dead_pixels": -1}, "dead_pixels")],
)
def test_invalid_option_is_named(sample: Sample, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        experiment(sample, **options)


def test_patch_beyond_sample_is_rejected(sample: Sample) -> None:
    with pytest.raises(ValueError, match="extend beyond the sample"):
        Experiment(Instrument(), sample, np.array([[0.0, 0.0], [2e-6, 0.0]]))
    with pytest.raises(ValueError, match="pixel"):
        Experiment(Instrument(), Sample(sample.transmission, 12e-9, "other"), raster(2, 2))
