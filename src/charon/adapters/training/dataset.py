"""Simulated pairs in memory, drawn with fresh noise."""

# pyright: basic, reportMissingImports=false
# PyTorch is an extra: where it is not installed its types are unknown, which strict mode refuses.
from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from charon.adapters.models.graph import Root
from charon.science.preprocess import bin_mean
from charon.science.simulation.pairs import ROOT_SCALE, Pairs, simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from charon.adapters.training.recipe import Setup, TrainOptions

VALIDATION_PAIRS = 256
_SHARD = 1000
_FLUX_RANGE = (0.3, 5.0)
# Pixels that hardly vary, in the dark, are not blown up beyond this part of the one that varies most.
_DEVIATION_FLOOR = 0.1


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Pairs as tensors; the last ones are kept for validation.

    Parameters
    ----------
    root_intensity
        (N, rows, columns) float16, see `Pairs`.
    phase, amplitude
        (N, rows, columns) float16.
    pixels_binned
        Detector pixels that one pixel of the input averages.
    flux
        Photons a frame.
    resize
        See `Root`.
    """

    root_intensity: torch.Tensor
    phase: torch.Tensor
    amplitude: torch.Tensor
    pixels_binned: int
    flux: float
    resize: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    @property
    def training_pairs(self) -> int:
        """How many pairs there are to train on."""
        return len(self.phase) - VALIDATION_PAIRS

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return counts, phase and amplitude of pairs drawn at random, with flux and noise of their own."""
        index = torch.randint(0, self.training_pairs, (batch,), generator=generator)
        low, high = (float(np.log(self.flux * part)) for part in _FLUX_RANGE)
        flux = torch.exp(low + (high - low) * torch.rand(batch, 1, 1, generator=generator))
        return self._counts(index, flux, generator), self.phase[index].float(), self.amplitude[index].float()

    def validation(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return counts, phase and amplitude of the pairs that are not trained on, always with the same noise."""
        index = torch.arange(self.training_pairs, len(self.phase))
        generator = torch.Generator().manual_seed(1)
        counts = self._counts(index, torch.tensor(self.flux), generator)
        return counts, self.phase[index].float(), self.amplitude[index].float()

    def normalisation(self) -> Root:
        """Return what the patterns are standardised by, from at most 2,000 of them."""
        index = torch.arange(min(2000, self.training_pairs))
        counts = self._counts(index, torch.tensor(self.flux), torch.Generator().manual_seed(2))
        roots = self.roots(counts)
        deviation = roots.std(dim=0)
        deviation = torch.sqrt(deviation**2 + (_DEVIATION_FLOOR * deviation.max()) ** 2)
        return Root(roots.mean(dim=0).numpy(), deviation.numpy(), self.resize)

    def roots(self, counts: torch.Tensor) -> torch.Tensor:
        """Return the square root of counts relative to their frame's mean, resized, as the exported graph does."""
        relative = counts / counts.mean(dim=(1, 2), keepdim=True).clamp_min(1e-9)
        if self.resize is not None:
            relative = torch.from_numpy(self.resize[0]) @ relative @ torch.from_numpy(self.resize[1].T)
        return torch.sqrt(relative)

    def _counts(self, index: torch.Tensor, flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return mean-binned counts; what is binned is Poisson, and so is its sum."""
        expected = (self.root_intensity[index].float() / ROOT_SCALE) ** 2 * (flux * self.pixels_binned)
        return torch.poisson(expected, generator=generator) / self.pixels_binned


def load_or_simulate(setup: Setup, options: TrainOptions, work: Path, report: Callable[[str], None]) -> TrainingData:
    """Simulate the pairs in as many processes as there are threads; parts that are on disk are read.

    Parameters
    ----------
    setup, options
        What to simulate.
    work
        Folder for the parts.
    report
        Called with a line for each part.
    """
    work.mkdir(parents=True, exist_ok=True)
    count = -(-(options.pairs + VALIDATION_PAIRS) // _SHARD)
    paths = [work / f"pairs-{options.seed}-{index}.npz" for index in range(count)]
    missing = [(setup, options.seed * 100_000 + index, path) for index, path in enumerate(paths) if not path.exists()]
    processes = options.threads or multiprocessing.cpu_count()
    with multiprocessing.get_context("spawn").Pool(min(processes, max(1, len(missing)))) as pool:
        for done, _ in enumerate(pool.imap_unordered(_simulate_part, missing), start=1):
            report(f"simulated {done * _SHARD:,} of {len(missing) * _SHARD:,} pairs")
    parts = [_read(path) for path in paths]
    return TrainingData(
        *(
            torch.from_numpy(np.concatenate([getattr(part, name) for part in parts]))
            for name in ("root_intensity", "phase", "amplitude")
        ),
        pixels_binned=setup.geometry.binning**2,
        flux=options.flux,
        resize=setup.resize,
    )


def _simulate_part(job: tuple[Setup, int, Path]) -> None:
    setup, seed, path = job
    pairs = simulate_pairs(setup.instrument, setup.probe, setup.geometry, _SHARD, seed)
    phase, amplitude = (
        np.stack([bin_mean(label, setup.label_binning) for label in labels]).astype(np.float16)
        for labels in (pairs.phase, pairs.amplitude)
    )
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, root_intensity=pairs.root_intensity, phase=phase, amplitude=amplitude)
    partial.rename(path)


def _read(path: Path) -> Pairs:
    with np.load(path) as file:
        return Pairs(file["root_intensity"], file["phase"], file["amplitude"])
