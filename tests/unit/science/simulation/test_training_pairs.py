"""Training pairs agree with the frames of a simulated experiment."""

from __future__ import annotations

import numpy as np
import pytest

from charon.science.preprocess import Geometry
from charon.science.simulation import Experiment, Instrument, Sample, simulate_probe
from charon.science.simulation.training_pairs import ROOT_SCALE, simulate_pairs

INSTRUMENT = Instrument()
GEOMETRY = Geometry((512, 512), (0, 0, 512, 512), 4)


@pytest.fixture(scope="module")
def probe() -> np.ndarray:
    return simulate_probe(INSTRUMENT)[None]


def test_pattern_equals_expected_frame_of_patch(probe: np.ndarray) -> None:
    pairs = simulate_pairs(INSTRUMENT, probe, GEOMETRY, 3, seed=4)
    assert len(pairs) == 3
    patch = (pairs.amplitude[1] * np.exp(1j * pairs.phase[1].astype(np.float64))).astype(np.complex64)
    frame = Experiment(INSTRUMENT, Sample(patch, 10e-9, "patch"), np.zeros((1, 2)), flux=1.0).expected(0)
    intensity = (pairs.root_intensity[1].astype(np.float64) / ROOT_SCALE) ** 2
    expected = GEOMETRY.apply(frame)
    assert np.abs(intensity - expected).max() < 5e-3 * expected.max()


def test_pairs_depend_only_on_seed(probe: np.ndarray) -> None:
    first, again, other = (simulate_pairs(INSTRUMENT, probe, GEOMETRY, 2, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.root_intensity, again.root_intensity)
    np.testing.assert_array_equal(first.phase, again.phase)
    assert not np.array_equal(first.phase, other.phase)
