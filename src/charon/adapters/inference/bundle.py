"""Model bundles: folders with an ONNX network and its card."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

import charon
from charon.adapters.inference.card import ModelCard

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
MAX_BUNDLE_BYTES = 5_000_000
DEFAULT_BUNDLE = "ptychonn2-sim"


class BundleError(ValueError):
    """A model bundle is missing or damaged, or its card has an unknown schema."""


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose model matches its card.

    Parameters
    ----------
    path
        Folder of the bundle.
    card
        Validated card.
    """

    path: Path
    card: ModelCard

    @property
    def model_path(self) -> Path:
        """Path of the ONNX file."""
        return self.path / MODEL_FILE


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the bundles in the package, by name."""
    folder = Path(charon.__file__).parent / "models"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CARD_FILE}"))}


def load_bundle(path_or_name: str | Path) -> Bundle:
    """Find a bundle, read its card and verify its model.

    Parameters
    ----------
    path_or_name
        A folder, or the name of a bundle in the package.

    Raises
    ------
    BundleError
        If the bundle is missing, its card is invalid, or its model does not match the card.
    """
    path = _find(path_or_name)
    card = _read_card(path)
    model = path / MODEL_FILE
    try:
        digest = file_sha256(model)
    except OSError as error:
        raise BundleError(
            f"model bundle {path}: cannot read {MODEL_FILE} ({error.strerror}); export or copy the bundle again"
        ) from error
    if digest != card.sha256:
        raise BundleError(
            f"model bundle {path}: {MODEL_FILE} is damaged or belongs to another bundle (SHA-256 is {digest[:12]}…, "
            f"card has {card.sha256[:12]}…); export or copy the bundle again"
        )
    return Bundle(path, card)


def write_bundle(path: Path, model: bytes, card: ModelCard) -> Bundle:
    """Write model and card to a folder.

    Parameters
    ----------
    path
        Folder; created if missing.
    model
        Serialised ONNX model.
    card
        Card; its digest is replaced by that of the model.

    Raises
    ------
    BundleError
        If the model exceeds `MAX_BUNDLE_BYTES`.
    """
    if len(model) > MAX_BUNDLE_BYTES:
        raise BundleError(f"model bundle {path}: the model has {len(model)} bytes; the maximum is {MAX_BUNDLE_BYTES}")
    path.mkdir(parents=True, exist_ok=True)
    complete = card.model_copy(update={"sha256": hashlib.sha256(model).hexdigest()})
    (path / MODEL_FILE).write_bytes(model)
    (path / CARD_FILE).write_text(complete.to_json(), encoding="utf-8")
    return load_bundle(path)


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_dir():
        return path
    shipped = shipped_bundles()
    if str(path_or_name) in shipped:
        return shipped[str(path_or_name)]
    raise BundleError(f"model bundle {str(path_or_name)!r} not found; use a folder or one of {', '.join(shipped)}")


def _read_card(path: Path) -> ModelCard:
    try:
        text = (path / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise BundleError(
            f"model bundle {path}: cannot read {CARD_FILE} ({reason}); check that the folder is a bundle"
        ) from error
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()[:3])
        raise BundleError(
            f"model bundle {path}: {CARD_FILE} is not a valid charon-model/1 card ({problems})"
        ) from error
