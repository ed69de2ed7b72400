"""Model bundles: a folder with an ONNX network and a card that describes its input and output."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

import charon

MODEL_FILE = "model.onnx"
CARD_FILE = "card.json"
MAX_BUNDLE_BYTES = 5_000_000
DEFAULT_BUNDLE = "ptychonn2-sim"

Shape = tuple[PositiveInt, PositiveInt]
NonNegativeInt = Annotated[int, Field(ge=0)]


class BundleError(ValueError):
    """A model bundle is missing or damaged, or its card has an unknown schema."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputCard(_Part):
    """Input of the network: mean-binned counts of a part of the frame.

    Crop and binning precede the network. All other pre-processing of the counts (threshold, square root, mean,
    standard deviation) is part of its graph.

    Parameters
    ----------
    name
        Name of the graph's input.
    detector_shape
        Rows and columns of the frames.
    crop
        First row, first column, height and width of the part of the frame that is used.
    binning
        Side, in detector pixels, of the squares that are averaged.
    shape
        Rows and columns after binning.
    dtype
        Element type of the graph's input.
    normalisation
        Description of the pre-processing in the graph.
    maximum
        Counts above this value are clipped before binning; null for no clipping.
    """

    name: str = "counts"
    detector_shape: Shape
    crop: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt]
    binning: PositiveInt
    shape: Shape
    dtype: Literal["float32"] = "float32"
    normalisation: str
    maximum: PositiveFloat | None = None

    @model_validator(mode="after")
    def _check_geometry(self) -> Self:
        row, column, height, width = self.crop
        if row + height > self.detector_shape[0] or column + width > self.detector_shape[1]:
            raise ValueError(f"crop {self.crop} extends beyond the detector {self.detector_shape}")
        if (self.shape[0] * self.binning, self.shape[1] * self.binning) != (height, width):
            raise ValueError(f"crop {(height, width)} binned by {self.binning} does not give shape {self.shape}")
        return self


class OutputCard(_Part):
    """One output of the graph, (N, rows, columns) float32."""

    name: str
    kind: Literal["phase", "amplitude"]
    unit: Literal["rad", "1"]


class PatchCard(_Part):
    """Output of the network: a patch of the object.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_m
        Side of an object pixel in m.
    offset
        "absolute" if the patches share one phase constant, "free" if each patch has its own.
    weight_radius_m
        Radius of the reliable, illuminated area of a patch in m; null if unknown.
    weight_profile
        Weight of a pixel in stitching at distances of 0, 1, 2... pixels from the patch's centre; linear in between,
        0 beyond. The defocused probe of a zone plate is a ring, so a bell-shaped weight would favour its dark centre.
    """

    shape: Shape
    pixel_m: PositiveFloat
    offset: Literal["absolute", "free"]
    weight_radius_m: PositiveFloat | None = None
    weight_profile: tuple[NonNegativeFloat, ...] | None = None


class ModelCard(_Part):
    """Description of a network: how to run it, how it was trained, and what was measured.

    Parameters
    ----------
    schema
        Version of this schema.
    name, version
        Name and version of the bundle, written into every patch.
    sha256
        SHA-256 digest of the ONNX file.
    input
        Input of the network.
    outputs
        Outputs of the network.
    patch
        Geometry of a patch.
    training
        Recipe, data, seed and duration of the training, or the origin of imported weights.
    quality
        Measured figures, with the data and the command.
    """

    schema_: Literal["charon-model/1"] = Field(alias="schema", default="charon-model/1")
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[str, Field(min_length=1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    input: InputCard
    outputs: Annotated[tuple[OutputCard, ...], Field(min_length=1)]
    patch: PatchCard
    training: dict[str, Any] = Field(default_factory=dict)
    quality: dict[str, Any] = Field(default_factory=dict)

    def to_json(self) -> str:
        """Return the content of the card file."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"


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
            f"model bundle {path}: cannot read {MODEL_FILE} ({error}); export or copy the bundle again"
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
    raise BundleError(f"model bundle {str(path_or_name)!r} not found; give a folder or one of {', '.join(shipped)}")


def _read_card(path: Path) -> ModelCard:
    try:
        text = (path / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"model bundle {path}: cannot read {CARD_FILE} ({error}); check that the folder is a bundle"
        ) from error
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()[:3])
        raise BundleError(
            f"model bundle {path}: {CARD_FILE} is not a valid charon-model/1 card ({problems})"
        ) from error
