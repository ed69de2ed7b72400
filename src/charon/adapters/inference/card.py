"""The card of a model bundle: input, output, training and quality of a network."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

Shape = tuple[PositiveInt, PositiveInt]
NonNegativeInt = Annotated[int, Field(ge=0)]


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
