"""Layers of a network architecture, independent of the library that builds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

# PyTorch's names of the parameters and statistics of `BatchNorm2d`.
BATCH_NORM_PARAMETERS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Conv:
    """Convolution with bias; the output has as many rows and columns as the input."""

    inputs: int
    outputs: int
    kernel: int = 3


@dataclass(frozen=True)
class BatchNorm:
    """Batch normalisation; at inference a scale and an offset per channel."""

    channels: int


@dataclass(frozen=True)
class Relu:
    """Rectifier: negative values become 0."""


@dataclass(frozen=True)
class MaxPool:
    """Maximum of each 2 x 2 pixels."""


@dataclass(frozen=True)
class Upsample:
    """Bilinear upsampling by 2 along rows and columns, with half-pixel centres."""


@dataclass(frozen=True)
class SpaceToDepth:
    """Rearrange squares of `size` x `size` pixels into channels, without loss, so that convolutions cost less."""

    size: int


@dataclass(frozen=True)
class DepthToSpace:
    """Rearrange channels into squares of `size` x `size` pixels, the inverse of `SpaceToDepth`."""

    size: int


@dataclass(frozen=True)
class ScaledTanh:
    """Hyperbolic tangent times a scale."""

    scale: float


@dataclass(frozen=True)
class Sigmoid:
    """Logistic function, between 0 and 1."""


@dataclass(frozen=True)
class SaveSkip:
    """Identity that saves its input under a label for a skip connection."""

    label: str


@dataclass(frozen=True)
class AddSkip:
    """Add the values that `SaveSkip` saved under a label."""

    label: str


Layer: TypeAlias = (
    Conv
    | BatchNorm
    | Relu
    | MaxPool
    | Upsample
    | SpaceToDepth
    | DepthToSpace
    | ScaledTanh
    | Sigmoid
    | SaveSkip
    | AddSkip
)
Stage: TypeAlias = tuple[Layer, ...]
