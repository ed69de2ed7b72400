"""Training writes bundles whose graphs compute the same as the PyTorch network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch: pip install torch")

from charon.adapters.models import architecture as architectures  # noqa: E402 - after the check for torch
from charon.adapters.models.graph import build_model  # noqa: E402
from charon.adapters.models.normalisation import SqrtStandardise  # noqa: E402
from charon.adapters.models.resize import magnification_matrix  # noqa: E402
from charon.adapters.training import TrainOptions, train  # noqa: E402
from charon.adapters.training.dataset import TrainingData, load_or_simulate  # noqa: E402
from charon.adapters.training.fit import Loss  # noqa: E402
from charon.adapters.training.network import Network  # noqa: E402
from charon.adapters.training.training_setup import make_setup  # noqa: E402
from charon.science.simulation import Experiment, random_shapes, raster  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

    from charon.adapters.models.architecture import Architecture

pytestmark = [pytest.mark.train, pytest.mark.timeout(600)]


@pytest.mark.parametrize(
    "architecture",
    [
        architectures.live(),
        architectures.two_headed(),
        architectures.two_headed_live(),
        architectures.ptychonn2(),
        architectures.ptychonn2(norm=True),
    ],
)
def test_exported_graph_equals_trained_network(architecture: Architecture) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    network = Network(architecture)
    side = 64 if architecture.name.startswith("two-headed") else 128
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(size=(side, side)), rng.uniform(0.5, 1.5, (side, side))
    counts = rng.poisson(4.0, (8, side, side)).astype(np.float32)
    resize = (magnification_matrix(side, 1.2, 0.5), magnification_matrix(side, 1.2, -0.5))
    normalisation = SqrtStandardise(mean.astype(np.float32), deviation.astype(np.float32), resize)
    empty = torch.zeros(0)
    data = TrainingData(empty, empty, empty, pixels_binned=1, flux=1.0, resize=resize)
    patterns = (data.roots(torch.from_numpy(counts)) - torch.from_numpy(normalisation.mean)) / torch.from_numpy(
        normalisation.deviation
    )
    network(patterns[:, None])  # a forward pass changes running means and variances from their initial values
    network.eval()
    with torch.no_grad():
        expected = network(patterns[:, None])
    session = onnxruntime.InferenceSession(
        build_model(architecture, network.weights(), normalisation, (side, side)).SerializeToString()
    )
    for name, value in zip(expected, session.run(None, {"counts": counts}), strict=True):
        np.testing.assert_allclose(value, expected[name].numpy(), atol=2e-5)


def test_weights_load_by_name() -> None:
    network, other = Network(architectures.live()), Network(architectures.live())
    other.load_weights(network.weights())
    for name, value in other.weights().items():
        np.testing.assert_array_equal(value, network.weights()[name])
    with pytest.raises(ValueError, match="do not fit"):
        Network(architectures.ptychonn2()).load_weights(network.weights())


def test_training_input_equals_binned_frames(tmp_path: Path) -> None:
    options = TrainOptions(pairs=300, threads=1, flux=1e6)
    setup = make_setup(options)
    data = load_or_simulate(setup, options, tmp_path, lambda _: None)
    counts, phase, amplitude = data.validation()
    assert counts.shape == phase.shape == amplitude.shape == (256, 128, 128)
    sample = random_shapes((288, 288), 1)
    frames = Experiment(setup.instrument, sample, raster(4, 4), flux=1e6)
    binned = np.stack([setup.geometry.apply(frame) for frame in frames])
    # The flux is the same, and counts are multiples of one photon per sixteen pixels.
    assert float(counts.sum(dim=(1, 2)).median()) == pytest.approx(np.median(binned.sum(axis=(1, 2))), rel=0.3)
    np.testing.assert_allclose((counts.numpy() * 16) % 1, 0.0, atol=1e-6)
    spread = float(data.roots(torch.from_numpy(binned)).std())
    assert float(data.roots(counts).std()) == pytest.approx(spread, rel=0.15)


def test_loss_separates_offset_from_shape() -> None:
    illumination = np.random.default_rng(0).random((64, 64), np.float32)
    loss = Loss(illumination / illumination.sum())
    truth = torch.rand(4, 64, 64)
    shape, offset, edges = loss.parts(truth + 0.5, truth)
    assert float(shape) == pytest.approx(0.0, abs=1e-6)
    assert float(edges) == pytest.approx(0.0, abs=1e-6)
    assert float(offset) == pytest.approx(0.5, rel=1e-5)


def test_loss_is_weighted_by_illumination() -> None:
    illumination = np.zeros((64, 64), np.float32)
    illumination[16:32, 16:32] = 1 / 256
    loss = Loss(illumination)
    truth = torch.zeros(1, 64, 64)
    lit, dark = truth.clone(), truth.clone()
    lit[0, 20:24, 20:24] = 1.0
    dark[0, 50:54, 50:54] = 1.0
    assert float(loss.parts(lit, truth)[0]) > 5 * float(loss.parts(dark, truth)[0])


def test_training_learns_and_resumes(tmp_path: Path) -> None:
    options = TrainOptions(out_dir=tmp_path, steps=4, pairs=400, batch=8, threads=1, name="short")
    lines: list[str] = []
    untrained = train(options, lines.append)
    trained = train(replace(options, steps=60), lines.append)
    assert trained.card.training["steps"] == 60
    assert trained.card.name == "short"
    assert trained.card.quality["validation_shape_error_rad"] < untrained.card.quality["validation_shape_error_rad"]
    assert sum("simulated" in line for line in lines) == 1, "pairs on disk must not be simulated again"
    assert str(tmp_path) not in trained.card.to_json()


def test_probe_file_determines_instrument(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    modes = (rng.normal(size=(3, 64, 64)) + 1j * rng.normal(size=(3, 64, 64))).astype(np.complex64)
    np.savez(tmp_path / "probe.npz", probe=modes)
    options = TrainOptions(probe_file=tmp_path / "probe.npz", probe_pixel_m=29e-9)
    setup = make_setup(options)
    assert setup.geometry.crop == (0, 0, 64, 64)
    assert setup.pixel_m == pytest.approx(29e-9)
    assert np.sum(np.abs(setup.probe) ** 2) == pytest.approx(1.0, rel=1e-5)
    with pytest.raises(ValueError, match="probe_pixel_m"):
        make_setup(replace(options, probe_pixel_m=None))
    with pytest.raises(ValueError, match="cannot read array 'probe'"):
        make_setup(replace(options, probe_file=tmp_path / "absent.npz"))
