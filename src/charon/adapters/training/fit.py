"""The training loop: seeded, bounded in steps or time, and able to go on after it was interrupted."""

# pyright: basic, reportMissingImports=false
# PyTorch is an extra: where it is not installed its types are unknown, which strict mode refuses.
from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from charon.adapters.models.graph import Root
    from charon.adapters.training.dataset import TrainingData
    from charon.adapters.training.network import PlannedNetwork
    from charon.adapters.training.recipe import TrainOptions

_WARM_UP = 0.05
_LEAST_RATE = 1e-6
_OFFSET_SHARE = 0.3
_EDGE_SHARE = 0.3
_LIGHT_BLUR = 3.0
_DARK_WEIGHT = 0.1
_WEIGHT_DECAY = 1e-4
_REPORT_EVERY_S = 30.0


@dataclass(frozen=True)
class FitResult:
    """What a training came to.

    Parameters
    ----------
    steps
        Batches seen.
    duration_s
        Time in the loop.
    shape_error_rad, offset_error_rad
        Mean absolute error on the validation pairs, weighted by the probe: of the phase with each patch's
        mean removed, and of that mean.
    """

    steps: int
    duration_s: float
    shape_error_rad: float
    offset_error_rad: float


class Loss:
    """Absolute error where there is light, a patch's mean counted apart, edges counted again.

    A pattern says much about the shape of a phase and little about its constant: that it must guess from
    what ground it sees. Counted apart, the guess does not drown the shape. The error's differences from
    pixel to pixel keep edges sharp and grounds flat, which an absolute error alone hardly rewards.

    Parameters
    ----------
    illumination
        (rows, columns) float32, the probe's intensity, of sum 1.
    """

    def __init__(self, illumination: npt.NDArray[np.float32]) -> None:
        self._illumination = torch.from_numpy(illumination)
        light = ndimage.gaussian_filter(illumination, _LIGHT_BLUR)
        self._weight = torch.from_numpy(_DARK_WEIGHT + (1.0 - _DARK_WEIGHT) * light / light.mean())

    def parts(self, phase: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the errors of shape, of offset and of edges, rad."""
        difference = phase - truth
        offset = (difference * self._illumination).sum(dim=(1, 2), keepdim=True)
        difference = difference - offset
        return self._mean(difference), offset.abs().mean(), self._edges(difference)

    def __call__(self, outputs: dict[str, torch.Tensor], phase: torch.Tensor, amplitude: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        shape, offset, edges = self.parts(outputs["phase"], phase)
        loss = shape + _OFFSET_SHARE * offset + _EDGE_SHARE * edges
        if "amplitude" in outputs:
            difference = outputs["amplitude"] - amplitude
            loss = loss + self._mean(difference) + _EDGE_SHARE * self._edges(difference)
        return loss

    def _mean(self, difference: torch.Tensor) -> torch.Tensor:
        return (self._weight * difference.abs()).mean()

    def _edges(self, difference: torch.Tensor) -> torch.Tensor:
        down = (self._weight[1:] * difference.diff(dim=1).abs()).mean()
        across = (self._weight[:, 1:] * difference.diff(dim=2).abs()).mean()
        return down + across


class Fit:
    """One training, from its checkpoint if there is one.

    Parameters
    ----------
    network, data, normalisation, loss
        What is trained on what.
    options
        Budget, batch, rate and seed.
    checkpoint
        File that is written every half minute.
    """

    def __init__(
        self,
        network: PlannedNetwork,
        data: TrainingData,
        normalisation: Root,
        *,
        loss: Loss,
        options: TrainOptions,
        checkpoint: Path,
    ) -> None:
        self._network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self._data = data
        self._mean = torch.from_numpy(normalisation.mean)
        self._deviation = torch.from_numpy(normalisation.deviation)
        self._loss = loss
        self._options = options
        self._checkpoint = checkpoint
        self._optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=_WEIGHT_DECAY)
        self._generator = torch.Generator().manual_seed(options.seed)
        self._steps = 0
        self._elapsed_s = 0.0
        if checkpoint.exists():
            self._resume()

    def run(self, report: Callable[[str], None]) -> FitResult:
        """Train to the end of the budget.

        Parameters
        ----------
        report
            Called with a line of progress every half minute.
        """
        started, reported, running, since = time.monotonic() - self._elapsed_s, self._elapsed_s, 0.0, 0
        while (part := self._progress()) < 1.0:
            running += self._step(_rate_at(part, self._options.rate))
            since += 1
            self._elapsed_s = time.monotonic() - started
            if self._elapsed_s - reported >= _REPORT_EVERY_S:
                shape, offset = self.validate()
                report(
                    f"step {self._steps:,}, {part:.0%}, {self._steps * self._options.batch / self._elapsed_s:.0f} "
                    f"pairs/s: loss {running / since:.4f}, validation {shape:.4f} rad, offset {offset:.4f} rad"
                )
                self._save()
                reported, running, since = self._elapsed_s, 0.0, 0
        shape, offset = self.validate()
        self._save()
        return FitResult(self._steps, self._elapsed_s, shape, offset)

    def validate(self) -> tuple[float, float]:
        """Return the errors of shape and offset on the validation pairs, rad."""
        counts, phase, _ = self._data.validation()
        self._network.eval()
        with torch.no_grad():
            shape, offset, _ = self._loss.parts(self._network(self._normalise(counts))["phase"], phase)
        self._network.train()
        return float(shape), float(offset)

    def _progress(self) -> float:
        if self._options.minutes is not None:
            return self._elapsed_s / (60.0 * self._options.minutes)
        return self._steps / self._options.steps

    def _step(self, rate: float) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        counts, phase, amplitude = self._data.draw(self._options.batch, self._generator)
        loss = self._loss(self._network(self._normalise(counts)), phase, amplitude)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self._steps += 1
        return float(loss.detach())

    def _normalise(self, counts: torch.Tensor) -> torch.Tensor:
        patterns = (self._data.roots(counts) - self._mean) / self._deviation
        return patterns[:, None].contiguous(memory_format=torch.channels_last)

    def _save(self) -> None:
        state: dict[str, Any] = {
            "network": self._network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "steps": self._steps,
            "elapsed_s": self._elapsed_s,
        }
        partial = self._checkpoint.with_suffix(".partial")
        torch.save(state, partial)
        partial.rename(self._checkpoint)

    def _resume(self) -> None:
        state = torch.load(self._checkpoint, map_location="cpu", weights_only=True)
        self._network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._steps, self._elapsed_s = state["steps"], state["elapsed_s"]


def _rate_at(part: float, highest: float) -> float:
    """Return the learning rate: up in a straight line, down along a cosine, one cycle."""
    if part < _WARM_UP:
        return max(_LEAST_RATE, highest * part / _WARM_UP)
    return max(_LEAST_RATE, highest * 0.5 * (1 + math.cos(math.pi * (part - _WARM_UP) / (1 - _WARM_UP))))
