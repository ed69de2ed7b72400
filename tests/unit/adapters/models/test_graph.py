"""A graph is its plan: layers one by one against NumPy, weights checked by name and shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from charon.adapters.models import plan as plans
from charon.adapters.models.graph import Counts, Root, build_model


def weights_of(plan: plans.Plan, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = plan.parameter_shapes()
    return {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        if name.endswith("running_var")
        else (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def run(plan: plans.Plan, weights: dict[str, np.ndarray], counts: np.ndarray, how=None) -> list[np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = build_model(plan, weights, how or Counts(), counts.shape[1:])
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"counts": counts})


def test_norm_is_folded_into_the_convolution_before_it() -> None:
    plan = plans.Plan("small", (plans.Conv(1, 1), plans.Norm(1)), (("decoder2", "phase", (plans.Conv(1, 1, 1),)),))
    weights = weights_of(plan)
    image = np.random.default_rng(1).normal(size=(1, 16, 16)).astype(np.float32)
    kernel = weights["encoder.0.weight"][0, 0]
    expected = ndimage.correlate(image[0], kernel, mode="constant") + weights["encoder.0.bias"]
    expected = (expected - weights["encoder.1.running_mean"]) / np.sqrt(weights["encoder.1.running_var"] + 1e-5)
    expected = expected * weights["encoder.1.weight"] + weights["encoder.1.bias"]
    expected = expected * weights["decoder2.0.weight"][0, 0] + weights["decoder2.0.bias"]
    np.testing.assert_allclose(run(plan, weights, image)[0][0], expected, atol=1e-5)


def test_depth_to_space_undoes_space_to_depth() -> None:
    plan = plans.Plan("still", (plans.SpaceToDepth(4),), (("decoder2", "phase", (plans.DepthToSpace(4),)),))
    image = np.random.default_rng(1).normal(size=(2, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(run(plan, {}, image)[0], image)


def test_root_is_blind_to_flux_and_standardises() -> None:
    plan = plans.Plan("still", (plans.SpaceToDepth(2),), (("decoder2", "phase", (plans.DepthToSpace(2),)),))
    rng = np.random.default_rng(2)
    counts = rng.poisson(5.0, (3, 8, 8)).astype(np.float32)
    mean, deviation = rng.normal(size=(2, 8, 8)).astype(np.float32)
    how = Root(mean, deviation)
    expected = (np.sqrt(counts / counts.mean(axis=(1, 2), keepdims=True)) - mean) / deviation
    np.testing.assert_allclose(run(plan, {}, counts, how)[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run(plan, {}, counts * 16, how)[0], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(run(plan, {}, np.zeros((1, 8, 8), np.float32), how)[0]).all()


@pytest.mark.parametrize(
    ("plan", "side"),
    [(plans.live(), 128), (plans.two_headed(), 64), (plans.two_headed_live(), 64), (plans.ptychonn2(), 128)],
)
def test_every_form_gives_patches_as_large_as_its_input(plan: plans.Plan, side: int) -> None:
    outputs = run(plan, weights_of(plan), np.ones((2, side, side), np.float32))
    assert [output.shape for output in outputs] == [(2, side, side)] * len(plan.decoders)


def test_published_sizes() -> None:
    count = {
        plan.name: sum(int(np.prod(shape)) for shape in plan.parameter_shapes().values())
        for plan in (plans.ptychonn2(), plans.ptychonn2(norm=True))
    }
    # With normalisation, running means and variances are counted too; the published file has 735,841 parameters.
    assert count["ptychonn2"] == 733_921
    norm = plans.ptychonn2(norm=True).parameter_shapes()
    assert sum(int(np.prod(s)) for n, s in norm.items() if "running" not in n) == 735_841


def test_weights_that_do_not_fit_are_named() -> None:
    plan = plans.ptychonn2()
    weights = weights_of(plan)
    removed = weights.pop("encoder.0.bias")
    with pytest.raises(ValueError, match=r"missing \['encoder.0.bias'\]"):
        build_model(plan, weights, Counts(), (128, 128))
    with pytest.raises(ValueError, match=r"encoder.0.bias is \(17,\)"):
        build_model(plan, weights | {"encoder.0.bias": np.append(removed, 0)}, Counts(), (128, 128))


def test_this_room_does_not_need_torch() -> None:
    import charon.adapters.models

    folder = Path(charon.adapters.models.__file__).parent
    assert not any("import torch" in path.read_text() for path in folder.glob("*.py"))
