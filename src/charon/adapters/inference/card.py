"""The card of a model bundle: input, output, training and quality of a network."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

Shape = tuple[PositiveInt, PositiveInt]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonEmptyStr = Annotated[str, Field(min_length=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InputCard(_Part):
    """Input of the network: mean-binned counts of a part of the frame.

    Crop and binning precede the network. All other pre-processing of the counts (threshold, square root, mean,
    standard deviation) is part of the network's graph.
    """

    name: str = Field(default="counts", description="Name of the graph's input.")
    detector_shape: Shape = Field(description="Rows and columns of the frames.")
    crop: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt] = Field(
        description="First row, first column, height and width of the part of the frame that is used."
    )
    binning: PositiveInt = Field(description="Side length of the averaged squares, in detector pixels.")
    shape: Shape = Field(description="Rows and columns after binning.")
    dtype: Literal["float32"] = Field(default="float32", description="Element type of the graph's input.")
    normalisation: str = Field(description="Description of the pre-processing in the graph.")
    maximum: PositiveFloat | None = Field(
        default=None, description="Counts above this value are clipped before binning; null for no clipping."
    )

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

    name: str = Field(description="Name of the graph's output.")
    kind: Literal["phase", "amplitude"] = Field(description="Quantity of the output.")
    unit: Literal["rad", "1"] = Field(description="Unit of the output: rad for a phase, 1 for an amplitude.")


class PatchCard(_Part):
    """Patch of the object that the network reconstructs from one frame."""

    shape: Shape = Field(description="Rows and columns.")
    pixel_m: PositiveFloat = Field(description="Pixel size of the object in m.")
    offset: Literal["absolute", "free"] = Field(
        description="Phase constant of the patches: one for all (absolute), or a different one for each (free)."
    )
    weight_radius_m: PositiveFloat | None = Field(
        default=None, description="Radius of the reliable, illuminated area of a patch in m; null if unknown."
    )
    # The defocused probe of a zone plate is a ring: a bell-shaped weight would favour its dark centre.
    weight_profile: tuple[NonNegativeFloat, ...] | None = Field(
        default=None,
        description="Weight of a pixel in stitching at distances of 0, 1, 2... pixels from the patch's centre; "
        "interpolated linearly in between, 0 beyond.",
    )


class ModelCard(_Part):
    """Description of a network: how to run it, how it was trained, and what was measured."""

    schema_: Literal["charon-model/1"] = Field(
        default="charon-model/1", alias="schema", description="Name and version of the schema of this card."
    )
    name: NonEmptyStr = Field(description="Name of the bundle, written into every patch.")
    version: NonEmptyStr = Field(description="Version of the bundle, written into every patch.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 digest of the ONNX file.")
    input: InputCard = Field(description="Input of the network.")
    outputs: tuple[OutputCard, ...] = Field(min_length=1, description="Outputs of the network.")
    patch: PatchCard = Field(description="Geometry of a patch.")
    training: dict[str, Any] = Field(
        default_factory=dict,
        description="Recipe, data, seed and duration of the training, or the origin of imported weights.",
    )
    quality: dict[str, Any] = Field(
        default_factory=dict, description="Measured figures, with the data and the command."
    )

    def to_json(self) -> str:
        """Return the content of the card file."""
        return self.model_dump_json(indent=2, by_alias=True) + "\n"
