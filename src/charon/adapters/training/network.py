"""PyTorch modules of an architecture; the names of the weights are those of the architecture."""

# pyright: basic, reportMissingImports=false
# PyTorch is an optional dependency; without it, strict mode would report unknown types.
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from charon.adapters.models.graph import check_weights
from charon.adapters.models.layers import (
    AddSkip,
    BatchNorm,
    Conv,
    DepthToSpace,
    Layer,
    MaxPool,
    Relu,
    SaveSkip,
    ScaledTanh,
    Sigmoid,
    SpaceToDepth,
    Stage,
    Upsample,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt

    from charon.adapters.models.architecture import Architecture


class Network(nn.Module):
    """PyTorch network of an architecture.

    Parameters
    ----------
    architecture
        Each stage becomes a `Sequential` module of the same name.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        for name, layers in architecture.stages:
            self.add_module(name, nn.Sequential(*(_module(layer) for layer in layers)))

    def forward(self, patterns: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each output by name.

        Parameters
        ----------
        patterns
            (N, 1, rows, columns) float32, normalised.

        Returns
        -------
        dict
            "phase" in rad, and "amplitude" if the architecture has that output: (N, rows, columns) float32.
        """
        skips: dict[str, torch.Tensor] = {}
        features = self._run("encoder", self.architecture.encoder, patterns, skips)
        return {
            output: self._run(stage, layers, features, skips)[:, 0]
            for stage, output, layers in self.architecture.decoders
        }

    def _run(self, stage: str, layers: Stage, values: torch.Tensor, skips: dict[str, torch.Tensor]) -> torch.Tensor:
        for layer, module in zip(layers, self.get_submodule(stage).children(), strict=True):
            if isinstance(layer, SaveSkip):
                skips[layer.label] = values
            elif isinstance(layer, AddSkip):
                values = values + skips[layer.label]
            else:
                values = module(values)
        return values

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the weights as NumPy arrays, by name."""
        return {
            name: tensor.detach().cpu().float().contiguous().numpy()
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }

    def load_weights(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Set every weight; a missing or unknown name is a ValueError."""
        check_weights(self.architecture, weights)
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()}, strict=False)


def _module(layer: Layer) -> nn.Module:  # noqa: C901, PLR0911 - one branch per layer type
    match layer:
        case Conv():
            return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.kernel // 2)
        case BatchNorm():
            return nn.BatchNorm2d(layer.channels)
        case Relu():
            return nn.ReLU()
        case MaxPool():
            return nn.MaxPool2d(2)
        case Upsample():
            return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        case SpaceToDepth():
            return nn.PixelUnshuffle(layer.size)
        case DepthToSpace():
            return nn.PixelShuffle(layer.size)
        case ScaledTanh():
            return _ScaledTanhModule(layer.scale)
        case Sigmoid():
            return nn.Sigmoid()
        case SaveSkip() | AddSkip():
            return nn.Identity()


class _ScaledTanhModule(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.tanh(values)
