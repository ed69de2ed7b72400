"""What to train: options of the command, and the setup that each form of network stands for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from charon.adapters.models import plan as plans
from charon.adapters.models.resize import magnify
from charon.science.preprocess import Geometry, bin_mean
from charon.science.simulation import DEFAULT_FLUX, Instrument, shadow_scale, simulate_probe

Form: TypeAlias = Literal["live", "ptychonn2", "two-headed", "two-headed-live"]
FORMS: tuple[Form, ...] = get_args(Form)
_TWO_HEADED = {"two-headed": plans.two_headed, "two-headed-live": plans.two_headed_live}
_PROFILE_BLUR = 3.0


@dataclass(frozen=True)
class TrainOptions:
    """Options of a training.

    Parameters
    ----------
    form
        ``live`` (the default network), ``ptychonn2`` (PtychoNN 2.0 with batch normalisation), ``two-headed``
        (the first PtychoNN: amplitude and phase) or ``two-headed-live`` (the same at half the cost).
    out_dir
        Where the bundle goes; pairs and checkpoints lie in ``work`` within it, so that a training that was
        interrupted goes on where it was.
    name, version
        Of the bundle.
    minutes
        Time for training, simulation of pairs not counted; None to train for `steps`.
    steps
        Batches to train on, where `minutes` is None: the same seed then gives the same network.
    pairs
        Simulated pairs; noise is drawn anew each time that one is used.
    batch
        Pairs a step.
    rate
        Highest learning rate of the cycle.
    seed
        Of objects, noise and initial weights.
    threads
        Threads of PyTorch and processes of the simulation; 0 for one a core.
    probe_file
        An .npz file with a measured probe in `probe`, (modes, rows, columns) complex, zero frequency of its
        frames in the centre: trains for detectors of that shape, without binning. None: the simulated instrument.
    probe_pixel_m
        Side of the probe's pixels, needed with `probe_file`.
    flux
        Photons a frame; while training it is varied about it, 0.3 to 5 times.
    free_offset
        Subtract from each patch its mean where it is lit, as a pattern alone does not tell it. Right for
        measured samples, whose ground is not flat as that of the training objects: measured on the Siemens star
        r = 0.947 in place of 0.914. Simulated samples lose by it (0.95 to 0.91).
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
        """Return the options for a card, without the paths of the machine they ran on."""
        values = asdict(self)
        del values["out_dir"]
        values["probe_file"] = None if self.probe_file is None else self.probe_file.name
        return values


@dataclass(frozen=True, eq=False)
class Setup:
    """An instrument, what of its frames enters the network, and the network.

    Parameters
    ----------
    instrument
        Geometry of detector and object grid.
    probe
        (modes, rows, columns) complex64 whose energies sum to 1.
    geometry
        Crop and binning of a frame.
    plan
        The network.
    label_binning
        Object pixels along a side that one pixel of the network's output averages.
    resize
        See `Root`.
    """

    instrument: Instrument
    probe: npt.NDArray[np.complex64]
    geometry: Geometry
    plan: plans.Plan
    label_binning: int = 1
    resize: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    @property
    def pixel_m(self) -> float:
        """Side of a pixel of the network's output."""
        return self.instrument.object_pixel_m * self.label_binning

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Rows and columns of the network's output."""
        rows, columns = self.instrument.patch_shape
        return rows // self.label_binning, columns // self.label_binning

    @property
    def trusted(self) -> npt.NDArray[np.float64]:
        """Where a patch is worth most, (rows, columns) of sum 1: the square of the illumination.

        Measured on simulated scans: where light is weak a network repeats its prejudice, so its error falls
        faster than the light grows; the square gave higher r and SSIM than the illumination itself. The
        illumination is blurred first, as an error is not bound to one fringe of the probe.
        """
        weight = ndimage.gaussian_filter(self.illumination.astype(np.float64), _PROFILE_BLUR) ** 2
        return weight / weight.sum()

    def weight_profile(self, *, free_offset: bool) -> tuple[float, ...]:
        """Return what a pixel is worth in stitching, by its distance from the centre in pixels.

        Patches of free offset differ by constants, which narrow weights turn into steps: for them it is the
        illumination itself, for others `trusted`; either was the better one when measured.
        """
        weight = np.sqrt(self.trusted) if free_offset else self.trusted
        rows, columns = weight.shape
        radius = np.hypot(np.arange(rows)[:, None] - rows / 2, np.arange(columns)[None, :] - columns / 2)
        ring = np.rint(radius).astype(np.intp).ravel()
        profile = np.bincount(ring, weight.ravel())[: rows // 2] / np.bincount(ring)[: rows // 2]
        return tuple(float(f"{value:.3g}") for value in profile / profile.max())

    @property
    def illumination(self) -> npt.NDArray[np.float32]:
        """Intensity of the probe on the output's pixels, (rows, columns) float32, of sum 1."""
        intensity = np.sum(np.abs(self.probe) ** 2, axis=0)
        binned = bin_mean(intensity, self.label_binning)
        return (binned / binned.sum()).astype(np.float32)


def setup_for(options: TrainOptions) -> Setup:
    """Return the setup that options stand for.

    Raises
    ------
    ValueError
        If the form is unknown, or the probe's file does not hold a probe.
    """
    if options.form not in FORMS:
        raise ValueError(f"no form is called {options.form!r}; there are {', '.join(FORMS)}")
    if options.probe_file is not None:
        return _setup_of_probe(options, options.probe_file)
    instrument = Instrument()
    probe = simulate_probe(instrument)[None]
    rows, columns = instrument.detector_shape
    if options.form in _TWO_HEADED:
        plan = _TWO_HEADED[options.form]()
        return Setup(instrument, probe, Geometry((rows, columns), (0, 0, rows, columns), 8), plan, label_binning=2)
    return Setup(instrument, probe, Geometry((rows, columns), (0, 0, rows, columns), 4), _single_plan(options.form))


def _single_plan(form: Form) -> plans.Plan:
    return plans.live() if form == "live" else plans.ptychonn2(norm=True, bounded=False)


def _setup_of_probe(options: TrainOptions, path: Path) -> Setup:
    if options.probe_pixel_m is None:
        raise ValueError(f"{path}: the side of the probe's pixels is needed too (probe_pixel_m)")
    if options.form in _TWO_HEADED:
        raise ValueError("two-headed forms are trained for the simulated instrument alone")
    try:
        with np.load(path) as file:
            modes = np.asarray(file["probe"], np.complex64)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} holds no array 'probe' (modes, rows, columns): {error}") from error
    modes = modes.reshape(-1, *modes.shape[-2:])
    side = modes.shape[-1]
    # Only the product matters here: a distance that gives the pixel, for the default wavelength and detector.
    base = Instrument()
    distance = options.probe_pixel_m * side * base.detector_pixel_m / base.wavelength_m
    instrument = Instrument(distance_m=distance, detector_shape=(side, side), patch_shape=(side, side))
    modes = modes / np.sqrt(np.sum(np.abs(modes) ** 2))
    # The pattern is magnified until the sample's shadow in it lies on the patch: small convolutions need not do it.
    scale, row, column = shadow_scale(modes[int(np.argmax(np.sum(np.abs(modes) ** 2, axis=(1, 2))))])
    resize = (magnify(side, scale, row), magnify(side, scale, column))
    geometry = Geometry((side, side), (0, 0, side, side))
    return Setup(instrument, modes.astype(np.complex64), geometry, _single_plan(options.form), resize=resize)
