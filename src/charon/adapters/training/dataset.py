"""Simulate or load training pairs, and draw batches with new photon noise."""

# pyright: basic, reportMissingImports=false
# PyTorch is an optional dependency; without it, strict mode would report unknown types.
from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from charon.adapters.models.normalisation import SqrtStandardise
from charon.science.preprocess import bin_mean
from charon.science.simulation.training_pairs import ROOT_SCALE, TrainingPairs, simulate_pairs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy.typing as npt

    from charon.adapters.training.options import TrainOptions
    from charon.adapters.training.training_setup import TrainingSetup

VALIDATION_PAIRS = 256
_PAIRS_PER_FILE = 1000
_FLUX_RANGE = (0.3, 5.0)
# Lower limit of the deviation as a fraction of its maximum, so that dark pixels are not amplified without bound.
_MIN_RELATIVE_DEVIATION = 0.1


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Training pairs as tensors; the last `VALIDATION_PAIRS` are held out for validation.

    Parameters
    ----------
    root_intensity
        (N, rows, columns) float16, see `TrainingPairs`.
    phase, amplitude
        (N, rows, columns) float16: phase in rad, and amplitude.
    pixels_binned
        Number of detector pixels that one pixel of the input averages.
    flux
        Photons per frame.
    resize
        Matrices of the input's pre-processing, see `SqrtStandardise`.
    """

    root_intensity: torch.Tensor
    phase: torch.Tensor
    amplitude: torch.Tensor
    pixels_binned: int
    flux: float
    resize: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    @property
    def training_pairs(self) -> int:
        """Number of pairs to train on."""
        return len(self.phase) - VALIDATION_PAIRS

    def draw(self, batch: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return counts, phase and amplitude of randomly drawn pairs, each with its own flux and noise."""
        index = torch.randint(0, self.training_pairs, (batch,), generator=generator)
        low, high = (float(np.log(self.flux * factor)) for factor in _FLUX_RANGE)
        flux = torch.exp(low + (high - low) * torch.rand(batch, 1, 1, generator=generator))
        return self._counts(index, flux, generator), self.phase[index].float(), self.amplitude[index].float()

    def validation(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return counts, phase and amplitude of the validation pairs, always with the same noise."""
        index = torch.arange(self.training_pairs, len(self.phase))
        generator = torch.Generator().manual_seed(1)
        counts = self._counts(index, torch.tensor(self.flux), generator)
        return counts, self.phase[index].float(), self.amplitude[index].float()

    def normalisation(self) -> SqrtStandardise:
        """Return the pre-processing with the statistics of at most 2,000 patterns."""
        index = torch.arange(min(2000, self.training_pairs))
        counts = self._counts(index, torch.tensor(self.flux), torch.Generator().manual_seed(2))
        roots = self.roots(counts)
        deviation = roots.std(dim=0)
        deviation = torch.sqrt(deviation**2 + (_MIN_RELATIVE_DEVIATION * deviation.max()) ** 2)
        return SqrtStandardise(roots.mean(dim=0).numpy(), deviation.numpy(), self.resize)

    def roots(self, counts: torch.Tensor) -> torch.Tensor:
        """Return the square root of counts over their frame's mean, resized, like the exported graph."""
        relative = counts / counts.mean(dim=(1, 2), keepdim=True).clamp_min(1e-9)
        if self.resize is not None:
            relative = torch.from_numpy(self.resize[0]) @ relative @ torch.from_numpy(self.resize[1].T)
        return torch.sqrt(relative)

    def _counts(self, index: torch.Tensor, flux: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return mean-binned counts; a sum of Poisson counts is Poisson-distributed, so only the sum is drawn."""
        expected = (self.root_intensity[index].float() / ROOT_SCALE) ** 2 * (flux * self.pixels_binned)
        return torch.poisson(expected, generator=generator) / self.pixels_binned


def load_or_simulate(
    setup: TrainingSetup, options: TrainOptions, work: Path, report: Callable[[str], None]
) -> TrainingData:
    """Simulate the pairs in parallel and store them in files; existing files are read instead.

    Parameters
    ----------
    setup, options
        Instrument, geometry, number of pairs, seed and number of processes.
    work
        Folder for the files, created if missing.
    report
        Callback for progress, called with one line per file.
    """
    work.mkdir(parents=True, exist_ok=True)
    count = -(-(options.pairs + VALIDATION_PAIRS) // _PAIRS_PER_FILE)
    paths = [work / f"pairs-{options.seed}-{index}.npz" for index in range(count)]
    missing = [(setup, options.seed * 100_000 + index, path) for index, path in enumerate(paths) if not path.exists()]
    processes = options.threads or multiprocessing.cpu_count()
    with multiprocessing.get_context("spawn").Pool(min(processes, max(1, len(missing)))) as pool:
        for done, _ in enumerate(pool.imap_unordered(_simulate_file, missing), start=1):
            report(f"simulated {done * _PAIRS_PER_FILE:,} of {len(missing) * _PAIRS_PER_FILE:,} pairs")
    files = [_read(path) for path in paths]
    return TrainingData(
        *(
            torch.from_numpy(np.concatenate([getattr(pairs, name) for pairs in files]))
            for name in ("root_intensity", "phase", "amplitude")
        ),
        pixels_binned=setup.geometry.binning**2,
        flux=options.flux,
        resize=setup.resize,
    )


def _simulate_file(job: tuple[TrainingSetup, int, Path]) -> None:
    setup, seed, path = job
    pairs = simulate_pairs(setup.instrument, setup.probe, setup.geometry, _PAIRS_PER_FILE, seed)
    phase, amplitude = (
        np.stack([bin_mean(label, setup.label_binning) for label in labels]).astype(np.float16)
        for labels in (pairs.phase, pairs.amplitude)
    )
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, root_intensity=pairs.root_intensity, phase=phase, amplitude=amplitude)
    partial.rename(path)


def _read(path: Path) -> TrainingPairs:
    with np.load(path) as file:
        return TrainingPairs(file["root_intensity"], file["phase"], file["amplitude"])
