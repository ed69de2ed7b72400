"""Model bundles: a folder with an ONNX file and a card that says what goes in and what comes out."""

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
    """A model bundle is missing, damaged or of a form that this version does not know."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputCard(_Part):
    """What the network takes: mean-binned counts of a part of the frame.

    Crop and binning happen before the network; everything else that is done to the counts
    (threshold, root, mean, standard deviation) is part of its graph.

    Parameters
    ----------
    name
        Of the graph's input.
    detector_shape
        Rows and columns of the frames that the crop refers to.
    crop
        First row, first column, height and width.
    binning
        Side of the squares of detector pixels that are averaged.
    shape
        Rows and columns after binning.
    dtype
        Of the graph's input.
    normalisation
        What the graph does to the counts, in words.
    maximum
        Counts above it are clipped before binning; None leaves them.
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
    def _fits(self) -> Self:
        row, column, height, width = self.crop
        if row + height > self.detector_shape[0] or column + width > self.detector_shape[1]:
            raise ValueError(f"crop {self.crop} leaves the detector {self.detector_shape}")
        if (self.shape[0] * self.binning, self.shape[1] * self.binning) != (height, width):
            raise ValueError(f"crop {(height, width)} binned by {self.binning} is not {self.shape}")
        return self


class OutputCard(_Part):
    """One output of the graph, (N, rows, columns) float32."""

    name: str
    kind: Literal["phase", "amplitude"]
    unit: Literal["rad", "1"]


class PatchCard(_Part):
    """What comes out: pixels of the object.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_m
        Side of an object pixel.
    offset
        Whether the phase of a patch is that of the object ("absolute") or known up to a constant ("free").
    weight_radius_m
        Radius within which the patch is illuminated enough to be trusted, where known.
    weight_profile
        What a pixel is worth in stitching, by its distance from the patch's centre, at 0, 1, 2... pixels; linear
        between, 0 beyond. A zone plate's defocused probe is a ring: a bell-shaped weight trusts its dark middle.
    """

    shape: Shape
    pixel_m: PositiveFloat
    offset: Literal["absolute", "free"]
    weight_radius_m: PositiveFloat | None = None
    weight_profile: tuple[NonNegativeFloat, ...] | None = None


class ModelCard(_Part):
    """Everything that one has to know to run a network and to trust it."""

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
        """Return the card as it stands in its file."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk whose card and model belong together.

    Parameters
    ----------
    path
        Its folder.
    card
        Read from it and checked.
    """

    path: Path
    card: ModelCard

    @property
    def model_path(self) -> Path:
        """The ONNX file."""
        return self.path / MODEL_FILE


def shipped_bundles() -> dict[str, Path]:
    """Return the folders of the bundles that come with the package, by name."""
    folder = Path(charon.__file__).parent / "models"
    return {path.parent.name: path.parent for path in sorted(folder.glob(f"*/{CARD_FILE}"))}


def load_bundle(path_or_name: str | Path) -> Bundle:
    """Find a bundle, read its card and check its model against it.

    Parameters
    ----------
    path_or_name
        A folder, or the name of a bundle that comes with the package.

    Raises
    ------
    BundleError
        If it is not there, its card is not of the known form, or its model is not the one that the card describes.
    """
    path = _find(path_or_name)
    card = _read_card(path)
    model = path / MODEL_FILE
    try:
        digest = file_sha256(model)
    except OSError as error:
        raise BundleError(f"model bundle {path}: {MODEL_FILE} cannot be read ({error}); fetch it again") from error
    if digest != card.sha256:
        raise BundleError(
            f"model bundle {path}: {MODEL_FILE} is damaged or of another bundle: its SHA-256 is {digest[:12]}…, "
            f"the card says {card.sha256[:12]}…; fetch or export the bundle again"
        )
    return Bundle(path, card)


def write_bundle(path: Path, model: bytes, card: ModelCard) -> Bundle:
    """Write model and card to a folder, the model's digest set in the card.

    Parameters
    ----------
    path
        Folder; made if it is not there.
    model
        A serialised ONNX model.
    card
        Its digest is replaced.

    Raises
    ------
    BundleError
        If the bundle would be larger than is allowed.
    """
    if len(model) > MAX_BUNDLE_BYTES:
        raise BundleError(f"model bundle {path}: {len(model)} bytes of model, at most {MAX_BUNDLE_BYTES} are allowed")
    path.mkdir(parents=True, exist_ok=True)
    stamped = card.model_copy(update={"sha256": hashlib.sha256(model).hexdigest()})
    (path / MODEL_FILE).write_bytes(model)
    (path / CARD_FILE).write_text(stamped.to_json(), encoding="utf-8")
    return load_bundle(path)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find(path_or_name: str | Path) -> Path:
    path = Path(path_or_name)
    if path.is_dir():
        return path
    shipped = shipped_bundles()
    if str(path_or_name) in shipped:
        return shipped[str(path_or_name)]
    raise BundleError(
        f"model bundle {str(path_or_name)!r} is neither a folder nor one of those that come with Charon: "
        f"{', '.join(shipped) or 'none'}"
    )


def _read_card(path: Path) -> ModelCard:
    try:
        text = (path / CARD_FILE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(f"model bundle {path}: {CARD_FILE} cannot be read ({error}); is this a bundle?") from error
    try:
        return ModelCard.model_validate_json(text)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'card'}: {e['msg']}" for e in error.errors()[:3])
        raise BundleError(f"model bundle {path}: {CARD_FILE} is not a charon-model/1 card ({wrong})") from error
