"""Options for training a network."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from charon.science.simulation import DEFAULT_FLUX

Form: TypeAlias = Literal["live", "ptychonn2", "two-headed", "two-headed-live"]
FORMS: tuple[Form, ...] = get_args(Form)


@dataclass(frozen=True)
class TrainOptions:
    """Options for training a network.

    Parameters
    ----------
    form
        Architecture of the network: ``live`` (the default), ``ptychonn2`` (PtychoNN 2.0 with batch
        normalisation), ``two-headed`` (the first PtychoNN: amplitude and phase) or ``two-headed-live`` (amplitude
        and phase at half the cost).
    out_dir
        Folder of the bundle. Its subfolder ``work`` contains pairs and checkpoints; an interrupted training
        resumes from them.
    name, version
        Name and version of the bundle.
    minutes
        Duration of the training without the simulation of pairs; None to train for `steps`.
    steps
        Number of batches if `minutes` is None. The same seed then gives the same network.
    pairs
        Number of simulated pairs. Each use of a pair draws new noise.
    batch
        Pairs per step.
    rate
        Maximum learning rate of the cycle.
    seed
        Random seed for objects, noise and initial weights.
    threads
        Threads of PyTorch and processes of the simulation; 0 for one per core.
    probe_file
        An .npz file with a measured probe in `probe`, (modes, rows, columns) complex, whose frames have zero
        frequency in the centre. Training is then for detectors of that shape, without binning. None for the
        simulated instrument.
    probe_pixel_m
        Pixel size of the probe in m; required with `probe_file`.
    flux
        Photons per frame; training varies it between 0.3 and 5 times this value.
    free_offset
        Subtract from each patch its mean over the illuminated area, because a pattern does not determine it.
        Use it for measured samples, whose background is not flat like that of the training objects: on the
        Siemens star it gives r = 0.946 instead of 0.914. For simulated samples it is worse (0.91 instead of 0.95).
    """

    form: Form = "live"
    out_dir: Path = Path("out/model")
    name: str = "trained"
    version: str = "1"
    minutes: float | None = None
    steps: int = 6000
    pairs: int = 20_000
    batch: int = 32
    rate: float = 3e-3
    seed: int = 0
    threads: int = 0
    probe_file: Path | None = None
    probe_pixel_m: float | None = None
    flux: float = DEFAULT_FLUX
    free_offset: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the options for a card, without paths of the machine that ran the training."""
        values = asdict(self)
        del values["out_dir"]
        values["probe_file"] = None if self.probe_file is None else self.probe_file.name
        return values
