"""Missing, damaged and invalid bundles are rejected with a one-line message that names them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from charon.adapters.inference.bundle import MAX_BUNDLE_BYTES, BundleError, load_bundle, shipped_bundles, write_bundle
from charon.adapters.inference.card import InputCard, ModelCard, OutputCard, PatchCard

if TYPE_CHECKING:
    from pathlib import Path

MODEL = b"not a real graph"


def card() -> ModelCard:
    return ModelCard(
        name="test",
        version="1",
        sha256="0" * 64,
        input=InputCard(
            detector_shape=(512, 512), crop=(0, 0, 512, 512), binning=4, shape=(128, 128), normalisation="none"
        ),
        outputs=(OutputCard(name="phase", kind="phase", unit="rad"),),
        patch=PatchCard(shape=(128, 128), pixel_m=1e-8, offset="absolute"),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", MODEL, card()).path


def test_written_bundle_is_read_back(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.model_path.read_bytes() == MODEL
    assert bundle.card.input.crop == (0, 0, 512, 512)
    assert bundle.card == ModelCard.model_validate_json(bundle.card.to_json())


def test_damaged_model_is_rejected(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(MODEL[:-1] + b"!")
    with pytest.raises(BundleError, match=r"bundle: model\.onnx is damaged"):
        load_bundle(folder)


def test_missing_model_is_rejected(folder: Path) -> None:
    (folder / "model.onnx").unlink()
    with pytest.raises(BundleError, match="cannot read model"):
        load_bundle(folder)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"schema": "charon-model/2"}, "schema"),
        ({"colour": "green"}, "colour"),
        ({"outputs": []}, "outputs"),
        ({"sha256": "short"}, "sha256"),
    ],
)
def test_invalid_card_is_rejected_by_field(folder: Path, change: dict[str, object], field: str) -> None:
    path = folder / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BundleError, match=field):
        load_bundle(folder)


def test_card_that_is_not_json_is_rejected(folder: Path) -> None:
    (folder / "card.json").write_bytes(b"\xff\x00")
    with pytest.raises(BundleError, match=r"card\.json"):
        load_bundle(folder)


def test_unknown_name_is_rejected_with_alternatives() -> None:
    with pytest.raises(BundleError, match="no-such-bundle"):
        load_bundle("no-such-bundle")


def test_inconsistent_geometry_is_rejected() -> None:
    with pytest.raises(ValidationError, match="binned by 4"):
        InputCard(detector_shape=(512, 512), crop=(0, 0, 512, 512), binning=4, shape=(64, 64), normalisation="none")
    with pytest.raises(ValidationError, match="extends beyond the detector"):
        InputCard(detector_shape=(512, 512), crop=(8, 0, 512, 512), binning=4, shape=(128, 128), normalisation="none")


def test_oversized_model_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the maximum is"):
        write_bundle(tmp_path / "large", bytes(MAX_BUNDLE_BYTES + 1), card())


@pytest.mark.parametrize("name", sorted(shipped_bundles()))
def test_shipped_bundle_loads(name: str) -> None:
    bundle = load_bundle(name)
    assert bundle.card.name == name
    assert bundle.model_path.stat().st_size <= MAX_BUNDLE_BYTES
