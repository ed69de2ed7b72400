"""The training loop: seeded, limited in steps or time, and resumable from a checkpoint."""

# pyright: basic, reportMissingImports=false
# PyTorch is an optional dependency; without it, strict mode would report unknown types.
from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from charon.science.simulation.smoothing import gaussian_filter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from charon.adapters.models.normalisation import SqrtStandardise
    from charon.adapters.training.dataset import TrainingData
    from charon.adapters.training.network import Network
    from charon.adapters.training.options import TrainOptions

_WARM_UP = 0.05
_MIN_RATE = 1e-6
_OFFSET_WEIGHT = 0.3
_EDGE_WEIGHT = 0.3
_ILLUMINATION_BLUR_PIXELS = 3.0
_DARK_WEIGHT = 0.1
_WEIGHT_DECAY = 1e-4
_REPORT_INTERVAL_S = 30.0


@dataclass(frozen=True)
class FitResult:
    """Result of training a network.

    Parameters
    ----------
    steps
        Number of batches.
    duration_s
        Duration of the training loop.
    shape_error_rad, offset_error_rad
        Mean absolute errors on the validation pairs, weighted by the illumination: the error of the phase after
        subtraction of each patch's mean error, and that mean error.
    """

    steps: int
    duration_s: float
    shape_error_rad: float
    offset_error_rad: float


class Loss:
    """Absolute error weighted by the illumination, with separate terms for offset and edges.

    A diffraction pattern constrains the shape of the phase, but its offset only weakly: the network estimates the
    offset from the visible background. A separate term for the offset keeps its errors from dominating those of the
    shape. The term for differences between neighbouring pixels keeps edges sharp and the background flat, which the
    absolute error alone barely rewards.

    Parameters
    ----------
    illumination
        (rows, columns) float32, intensity of the probe, normalised to a sum of 1.
    """

    def __init__(self, illumination: npt.NDArray[np.float32]) -> None:
        self._illumination = torch.from_numpy(illumination)
        blurred = gaussian_filter(illumination, _ILLUMINATION_BLUR_PIXELS)
        self._weight = torch.from_numpy(_DARK_WEIGHT + (1.0 - _DARK_WEIGHT) * blurred / blurred.mean())

    def parts(self, phase: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the errors of shape, offset and edges in rad."""
        difference = phase - truth
        offset = (difference * self._illumination).sum(dim=(1, 2), keepdim=True)
        difference = difference - offset
        return self._mean(difference), offset.abs().mean(), self._edges(difference)

    def __call__(self, outputs: dict[str, torch.Tensor], phase: torch.Tensor, amplitude: torch.Tensor) -> torch.Tensor:
        """Return the loss of a batch."""
        shape, offset, edges = self.parts(outputs["phase"], phase)
        loss = shape + _OFFSET_WEIGHT * offset + _EDGE_WEIGHT * edges
        if "amplitude" in outputs:
            difference = outputs["amplitude"] - amplitude
            loss = loss + self._mean(difference) + _EDGE_WEIGHT * self._edges(difference)
        return loss

    def _mean(self, difference: torch.Tensor) -> torch.Tensor:
        return (self._weight * difference.abs()).mean()

    def _edges(self, difference: torch.Tensor) -> torch.Tensor:
        down = (self._weight[1:] * difference.diff(dim=1).abs()).mean()
        across = (self._weight[:, 1:] * difference.diff(dim=2).abs()).mean()
        return down + across


class Fit:
    """Training of one network; resumes from its checkpoint if there is one.

    Parameters
    ----------
    network
        Network to train.
    data
        Pairs to train on.
    normalisation
        Mean and deviation of the input.
    loss
        Loss to minimise.
    options
        Steps or minutes, batch size, learning rate and seed.
    checkpoint
        File that is written every 30 s and at the end.
    """

    def __init__(
        self,
        network: Network,
        data: TrainingData,
        normalisation: SqrtStandardise,
        *,
        loss: Loss,
        options: TrainOptions,
        checkpoint: Path,
    ) -> None:
        self._network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue] - no overload for it alone
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
        """Train until the step or time limit is reached.

        Parameters
        ----------
        report
            Callback for progress, called with one line every 30 s.
        """
        started, reported_s, loss_sum, steps = time.monotonic() - self._elapsed_s, self._elapsed_s, 0.0, 0
        while (progress := self._progress()) < 1.0:
            loss_sum += self._step(_rate_at(progress, self._options.rate))
            steps += 1
            self._elapsed_s = time.monotonic() - started
            if self._elapsed_s - reported_s >= _REPORT_INTERVAL_S:
                shape, offset = self.validate()
                report(
                    f"step {self._steps:,}, {progress:.0%}, {self._steps * self._options.batch / self._elapsed_s:.0f} "
                    f"pairs/s: loss {loss_sum / steps:.4f}, validation {shape:.4f} rad, offset {offset:.4f} rad"
                )
                self._save()
                reported_s, loss_sum, steps = self._elapsed_s, 0.0, 0
        shape, offset = self.validate()
        self._save()
        return FitResult(self._steps, self._elapsed_s, shape, offset)

    def validate(self) -> tuple[float, float]:
        """Return the errors of shape and offset on the validation pairs in rad."""
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


def _rate_at(progress: float, max_rate: float) -> float:
    """Return the learning rate: linear warm-up, then cosine decay, in one cycle."""
    if progress < _WARM_UP:
        return max(_MIN_RATE, max_rate * progress / _WARM_UP)
    return max(_MIN_RATE, max_rate * 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP))))
