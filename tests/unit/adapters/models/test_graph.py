"""ONNX graphs compute the layers of their architecture, compared with NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from charon.adapters.models import architecture as architectures
from charon.adapters.models.architecture import Architecture
from charon.adapters.models.graph import build_model
from charon.adapters.models.layers import BatchNorm, Conv, DepthToSpace, SpaceToDepth
from charon.adapters.models.normalisation import RawCounts, SqrtStandardise


def weights_of(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = architecture.parameter_shapes()
    return {
        name: rng.uniform(0.5, 1.5, shape).astype(np.float32)
        if name.endswith("running_var")
        else (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


def run(
    architecture: Architecture, weights: dict[str, np.ndarray], counts: np.ndarray, normalisation=None
) -> list[np.ndarray]:
    onnxruntime = pytest.importorskip("onnxruntime")
    model = build_model(architecture, weights, normalisation or RawCounts(), counts.shape[1:])
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"counts": counts})


def test_batch_norm_is_folded_into_convolution() -> None:
    architecture = Architecture("small", (Conv(1, 1), BatchNorm(1)), (("decoder2", "phase", (Conv(1, 1, 1),)),))
    weights = weights_of(architecture)
    image = np.random.default_rng(1).normal(size=(1, 16, 16)).astype(np.float32)
    kernel = weights["encoder.0.weight"][0, 0]
    expected = ndimage.correlate(image[0], kernel, mode="constant") + weights["encoder.0.bias"]
    expected = (expected - weights["encoder.1.running_mean"]) / np.sqrt(weights["encoder.1.running_var"] + 1e-5)
    expected = expected * weights["encoder.1.weight"] + weights["encoder.1.bias"]
    expected = expected * weights["decoder2.0.weight"][0, 0] + weights["decoder2.0.bias"]
    np.testing.assert_allclose(run(architecture, weights, image)[0][0], expected, atol=1e-5)


def test_depth_to_space_inverts_space_to_depth() -> None:
    architecture = Architecture("identity", (SpaceToDepth(4),), (("decoder2", "phase", (DepthToSpace(4),)),))
    image = np.random.default_rng(1).normal(size=(2, 16, 16)).astype(np.float32)
    np.testing.assert_array_equal(run(architecture, {}, image)[0], image)


def test_sqrt_standardise_is_independent_of_flux() -> None:
    architecture = Architecture("identity", (SpaceToDepth(2),), (("decoder2", "phase", (DepthToSpace(2),)),))
    rng = np.random.default_rng(2)
    counts = rng.poisson(5.0, (3, 8, 8)).astype(np.float32)
    mean, deviation = rng.normal(size=(2, 8, 8)).astype(np.float32)
    normalisation = SqrtStandardise(mean, deviation)
    expected = (np.sqrt(counts / counts.mean(axis=(1, 2), keepdims=True)) - mean) / deviation
    np.testing.assert_allclose(run(architecture, {}, counts, normalisation)[0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run(architecture, {}, counts * 16, normalisation)[0], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(run(architecture, {}, np.zeros((1, 8, 8), np.float32), normalisation)[0]).all()


@pytest.mark.parametrize(
    ("architecture", "side"),
    [
        (architectures.live(), 128),
        (architectures.two_headed(), 64),
        (architectures.two_headed_live(), 64),
        (architectures.ptychonn2(), 128),
    ],
)
def test_patch_is_as_large_as_input(architecture: Architecture, side: int) -> None:
    outputs = run(architecture, weights_of(architecture), np.ones((2, side, side), np.float32))
    assert [output.shape for output in outputs] == [(2, side, side)] * len(architecture.decoders)


def test_ptychonn2_has_published_parameter_count() -> None:
    count = {
        architecture.name: sum(int(np.prod(shape)) for shape in architecture.parameter_shapes().values())
        for architecture in (architectures.ptychonn2(), architectures.ptychonn2(norm=True))
    }
    # The published 735,841 parameters with batch normalisation do not include running means and variances.
    assert count["ptychonn2"] == 733_921
    norm = architectures.ptychonn2(norm=True).parameter_shapes()
    assert sum(int(np.prod(s)) for n, s in norm.items() if "running" not in n) == 735_841


def test_weights_that_do_not_fit_are_named() -> None:
    architecture = architectures.ptychonn2()
    weights = weights_of(architecture)
    removed = weights.pop("encoder.0.bias")
    with pytest.raises(ValueError, match=r"missing \['encoder.0.bias'\]"):
        build_model(architecture, weights, RawCounts(), (128, 128))
    with pytest.raises(ValueError, match=r"encoder.0.bias has shape \(17,\)"):
        build_model(architecture, weights | {"encoder.0.bias": np.append(removed, 0)}, RawCounts(), (128, 128))


def test_package_does_not_import_torch() -> None:
    import charon.adapters.models

    folder = Path(charon.adapters.models.__file__).parent
    assert not any("import torch" in path.read_text() for path in folder.glob("*.py"))
