"""Shipped networks reach the quality of their cards on samples and data held out of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from charon.adapters.inference.bundle import load_bundle, shipped_bundles
from charon.adapters.models.evaluate import evaluate, patch_weights
from charon.adapters.models.siemens_star import evaluate_star, load_star
from charon.science.simulation import Experiment, Instrument, make_scan, tungsten_test_pattern

STAR = Path(__file__).resolve().parents[5] / "shared" / "data" / "siemens_star"


@pytest.mark.parametrize("name", sorted({"ptychonn2-sim", "ptychonn-sim"} & shipped_bundles().keys()))
def test_held_out_sample_is_reconstructed(name: str) -> None:
    bundle = load_bundle(name)
    positions = np.rint(make_scan("snake", 144) / 20e-9) * 20e-9
    quality = evaluate(bundle, Experiment(Instrument(), tungsten_test_pattern(), positions, seed=9))
    assert quality.pearson_r >= 0.95
    assert abs(quality.offset_rad) < 0.1, "the ground is 0 rad, even in patches without visible ground"


@pytest.mark.skipif(
    "ptychonn2-siemens" not in shipped_bundles(), reason="the bundle for the measured star is not shipped"
)
@pytest.mark.skipif(not STAR.exists(), reason=f"measured data {STAR} is missing")
def test_measured_star_is_reconstructed() -> None:
    quality = evaluate_star(load_bundle("ptychonn2-siemens"), load_star(STAR))
    assert quality.pixels > 20_000
    assert quality.pearson_r >= 0.93


def test_weights_follow_profile_of_card() -> None:
    patch = load_bundle("ptychonn2-sim").card.patch
    weights = patch_weights(patch.model_copy(update={"weight_profile": (0.0, 1.0, 0.5)}))
    assert weights.shape == patch.shape
    assert weights[64, 64] == 0.0
    assert weights[64, 65] == weights[63, 64] == 1.0
    assert weights[64, 66] == 0.5
    assert weights[64, 70] == 0.0
    assert (patch_weights(patch.model_copy(update={"weight_profile": None})) == 1.0).all()
