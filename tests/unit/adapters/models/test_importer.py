"""Imported weights reproduce published phases; invalid files are rejected."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest

from charon.adapters.inference.bundle import BundleError
from charon.adapters.models import ImportOptions, import_weights
from charon.adapters.models.resize import magnification_matrix, resize_matrix
from charon.adapters.models.state_dict import StateDictError, read_state_dict

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
GOLD = DATA / "ptychonn_gold"
PTYCHONN2 = DATA / "ptychonn2"

needs_gold = pytest.mark.skipif(not GOLD.exists(), reason=f"published data {GOLD} is missing")
needs_ptychonn2 = pytest.mark.skipif(not PTYCHONN2.exists(), reason=f"published data {PTYCHONN2} is missing")


def run(model: Path, counts: np.ndarray) -> np.ndarray:
    onnxruntime = pytest.importorskip("onnxruntime")
    return onnxruntime.InferenceSession(str(model)).run(None, {"counts": counts})[0]


@needs_gold
def test_norm_weights_give_published_phase(tmp_path: Path) -> None:
    options = ImportOptions(form="ptychonn2-norm", reference=GOLD / "test235_truncated.npz", pixel_m=8e-9, name="gold")
    bundle = import_weights(GOLD / "model_ptychonn_bn_meanSubStdData.pth", tmp_path / "gold", options)
    with np.load(GOLD / "test235_truncated.npz") as file:
        frames = file["reciprocal"].astype(np.float32)
    row, column, height, width = bundle.card.input.crop
    phase = run(bundle.model_path, frames[:, row : row + height, column : column + width])
    tifffile = pytest.importorskip("tifffile")
    published = tifffile.imread(GOLD / "pred_phase.tiff")
    assert phase.shape == (20, 128, 128)
    assert np.abs(phase - published).max() < 1e-4


@needs_ptychonn2
def test_ptychonn2_weights_run_at_any_batch_size(tmp_path: Path) -> None:
    options = ImportOptions(detector_shape=(516, 516), name="26-id")
    bundle = import_weights(PTYCHONN2 / "ptychonn2_26id.pth", tmp_path / "bundle", options)
    assert bundle.card.input.crop == (2, 2, 512, 512)
    counts = np.random.default_rng(0).poisson(3.0, (5, 128, 128)).astype(np.float32)
    batch = run(bundle.model_path, counts)
    single = run(bundle.model_path, counts[3:4])
    assert np.abs(batch).max() <= np.pi
    np.testing.assert_allclose(batch[3:4], single, atol=1e-5)
    assert np.ptp(batch) > 0.1


@needs_gold
def test_weights_of_other_form_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"cannot import as ptychonn2: .*missing"):
        import_weights(GOLD / "model_ptychonn_bn_meanSubStdData.pth", tmp_path / "bundle")


@needs_gold
def test_norm_form_without_reference_names_option(tmp_path: Path) -> None:
    options = ImportOptions(form="ptychonn2-norm")
    with pytest.raises(BundleError, match="--reference"):
        import_weights(GOLD / "model_ptychonn_bn_meanSubStdData.pth", tmp_path / "bundle", options)


class _Call:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("touched-by-a-pickle"),))


def archive(path: Path, content: object) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("weights/data.pkl", pickle.dumps(content))
    return path


def test_pickle_with_code_is_rejected_unexecuted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateDictError, match="rejected"):
        read_state_dict(archive(tmp_path / "evil.pth", {"weight": _Call()}))
    assert not (tmp_path / "touched-by-a-pickle").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", io.BytesIO().getvalue()])
def test_file_that_is_not_archive_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(StateDictError, match=r"weights\.pth"):
        read_state_dict(path)


def test_archive_without_tensors_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(StateDictError, match="no tensors"):
        read_state_dict(archive(tmp_path / "empty.pth", {"epoch": 3}))
    with pytest.raises(StateDictError, match="list"):
        read_state_dict(archive(tmp_path / "list.pth", [1, 2]))


def test_resize_equals_scikit_image() -> None:
    transform = pytest.importorskip("skimage.transform")
    image = np.random.default_rng(0).normal(size=(96, 96))
    matrix = resize_matrix(96, 32)
    np.testing.assert_allclose(
        matrix @ image @ matrix.T, transform.resize(image, (32, 32), anti_aliasing=True), atol=1e-6
    )


def test_resize_preserves_constant() -> None:
    np.testing.assert_allclose(resize_matrix(384, 128).sum(axis=1), 1.0, atol=1e-6)


def test_magnify_scales_about_centre() -> None:
    line = np.zeros(64)
    line[32 + 10] = 1.0
    assert np.argmax(magnification_matrix(64, 1.5, 0.0) @ line) == 32 + 15
    assert np.argmax(magnification_matrix(64, 1.0, 4.0) @ line) == 32 + 14
    np.testing.assert_allclose(magnification_matrix(64, 1.0, 0.0), np.eye(64))
