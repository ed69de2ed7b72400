"""The shipped networks are as good as their cards claim, on samples and data that no training saw."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charon.adapters.inference.bundle import load_bundle, shipped_bundles
from charon.adapters.models.evaluate import evaluate, patch_weights
from charon.adapters.models.measured import evaluate_star, load_star
from charon.science.simulation import Experiment, Instrument, make_scan, tungsten_test_pattern

STAR = Path(__file__).resolve().parents[5] / "shared" / "data" / "siemens_star"


@pytest.mark.parametrize("name", sorted({"ptychonn2-sim", "ptychonn-sim"} & shipped_bundles().keys()))
def test_held_out_sample_is_reconstructed(name: str) -> None:
    bundle = load_bundle(name)
    positions = np.rint(make_scan("snake", 144) / 20e-9) * 20e-9
    quality = evaluate(bundle, Experiment(Instrument(), tungsten_test_pattern(), positions, seed=9))
    assert quality.pearson_r >= 0.95
    assert abs(quality.offset_rad) < 0.1, "ground is 0 rad, also where a patch cannot know it"


@pytest.mark.skipif("ptychonn2-siemens" not in shipped_bundles(), reason="no bundle for the measured star is shipped")
@pytest.mark.skipif(not STAR.exists(), reason=f"{STAR} is not there: measured data kept beside the project")
def test_measured_star_is_reconstructed_from_simulated_training() -> None:
    quality = evaluate_star(load_bundle("ptychonn2-siemens"), load_star(STAR))
    assert quality.pixels > 20_000
    assert quality.pearson_r >= 0.93


def test_weights_follow_the_profile_of_the_card() -> None:
    patch = load_bundle("ptychonn2-sim").card.patch
    weights = patch_weights(patch.model_copy(update={"weight_profile": (0.0, 1.0, 0.5)}))
    assert weights.shape == patch.shape
    assert weights[64, 64] == 0.0
    assert weights[64, 65] == weights[63, 64] == 1.0
    assert weights[64, 66] == 0.5
    assert weights[64, 70] == 0.0
    assert (patch_weights(patch.model_copy(update={"weight_profile": None})) == 1.0).all()
