"""A plan as PyTorch modules, with weights named as the plan names them."""

# pyright: basic, reportMissingImports=false
# PyTorch is an extra: where it is not installed its types are unknown, which strict mode refuses.
from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from charon.adapters.models import plan as plans
from charon.adapters.models.graph import check_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import numpy.typing as npt


class PlannedNetwork(nn.Module):
    """The network of a plan.

    Parameters
    ----------
    plan
        Its stages become `Sequential` modules of the same names.
    """

    def __init__(self, plan: plans.Plan) -> None:
        super().__init__()
        self.plan = plan
        for name, layers in plan.stages:
            self.add_module(name, nn.Sequential(*(_module(layer) for layer in layers)))

    def forward(self, patterns: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return each output by its name.

        Parameters
        ----------
        patterns
            (N, 1, rows, columns) float32, normalised.

        Returns
        -------
        dict
            "phase" in rad, and "amplitude" where the plan has it: (N, rows, columns) float32.
        """
        kept: dict[str, torch.Tensor] = {}
        features = self._run("encoder", self.plan.encoder, patterns, kept)
        return {output: self._run(stage, layers, features, kept)[:, 0] for stage, output, layers in self.plan.decoders}

    def _run(
        self, stage: str, layers: plans.Stage, values: torch.Tensor, kept: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        for layer, module in zip(layers, self.get_submodule(stage).children(), strict=True):
            if isinstance(layer, plans.Keep):
                kept[layer.label] = values
            elif isinstance(layer, plans.Add):
                values = values + kept[layer.label]
            else:
                values = module(values)
        return values

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the weights by name, as NumPy arrays."""
        return {
            name: tensor.detach().cpu().float().contiguous().numpy()
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }

    def load_weights(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Set every weight; a name that is missing or left over is an error."""
        check_weights(self.plan, weights)
        self.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in weights.items()}, strict=False)


def _module(layer: plans.Layer) -> nn.Module:  # noqa: C901, PLR0911 - one line for each kind of layer
    match layer:
        case plans.Conv():
            return nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.kernel // 2)
        case plans.Norm():
            return nn.BatchNorm2d(layer.channels)
        case plans.Relu():
            return nn.ReLU()
        case plans.MaxPool():
            return nn.MaxPool2d(2)
        case plans.Upsample():
            return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        case plans.SpaceToDepth():
            return nn.PixelUnshuffle(layer.size)
        case plans.DepthToSpace():
            return nn.PixelShuffle(layer.size)
        case plans.Tanh():
            return _ScaledTanh(layer.scale)
        case plans.Sigmoid():
            return nn.Sigmoid()
        case plans.Keep() | plans.Add():
            return nn.Identity()


class _ScaledTanh(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.tanh(values)
