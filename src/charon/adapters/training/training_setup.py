"""Instrument, network input and architecture that the training options select."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.adapters.models import architecture as architectures
from charon.adapters.models.resize import magnification_matrix
from charon.adapters.training.options import FORMS, Form, TrainOptions
from charon.science.preprocess import Geometry, bin_mean
from charon.science.simulation import Instrument, shadow_scale, simulate_probe
from charon.science.simulation.grid import radius_from_centre
from charon.science.simulation.smoothing import gaussian_filter

if TYPE_CHECKING:
    from pathlib import Path

    from charon.adapters.models.architecture import Architecture

_TWO_HEADED = {"two-headed": architectures.two_headed, "two-headed-live": architectures.two_headed_live}
_PROFILE_BLUR_PIXELS = 3.0


@dataclass(frozen=True, eq=False)
class TrainingSetup:
    """An instrument, the part of its frames that enters the network, and the network's architecture.

    Parameters
    ----------
    instrument
        Geometry of detector and object grid.
    probe
        (modes, rows, columns) complex64 whose energies sum to 1.
    geometry
        Crop and binning of a frame.
    architecture
        Layers of the network.
    label_binning
        Object pixels along each side that one pixel of the network's output averages.
    resize
        Matrices of the input's pre-processing, see `SqrtStandardise`.
    """

    instrument: Instrument
    probe: npt.NDArray[np.complex64]
    geometry: Geometry
    architecture: Architecture
    label_binning: int = 1
    resize: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]] | None = None

    @property
    def pixel_m(self) -> float:
        """Pixel size of the network's output in m."""
        return self.instrument.object_pixel_m * self.label_binning

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Rows and columns of the network's output."""
        rows, columns = self.instrument.patch_shape
        return rows // self.label_binning, columns // self.label_binning

    @property
    def stitching_weight(self) -> npt.NDArray[np.float64]:
        """Weight of each pixel of a patch, (rows, columns) of sum 1: the square of the illumination.

        Where the illumination is weak, a network reproduces what it was trained on, so that its error falls
        faster than the illumination grows: on simulated scans the square gave higher r and SSIM than the
        illumination itself. The illumination is blurred, because the error is not confined to one fringe of
        the probe.
        """
        weight = np.square(gaussian_filter(self.illumination.astype(np.float64), _PROFILE_BLUR_PIXELS))
        return weight / weight.sum()

    def weight_profile(self, *, free_offset: bool) -> tuple[float, ...]:
        """Return the weight of a pixel in stitching by its distance from the centre in pixels.

        With a free offset, patches differ by constants, which narrow weights turn into steps in the image. The
        profile is then the blurred illumination, otherwise its square; each gave the best result for its case.
        """
        weight = np.sqrt(self.stitching_weight) if free_offset else self.stitching_weight
        ring = np.rint(radius_from_centre(weight.shape)).astype(np.intp).ravel()
        length = weight.shape[0] // 2
        profile = np.bincount(ring, weight.ravel())[:length] / np.bincount(ring)[:length]
        return tuple(float(f"{value:.3g}") for value in profile / profile.max())

    @property
    def illumination(self) -> npt.NDArray[np.float32]:
        """Intensity of the probe on the output's pixels, (rows, columns) float32, of sum 1."""
        intensity = np.sum(np.abs(self.probe) ** 2, axis=0)
        binned = bin_mean(intensity, self.label_binning)
        return (binned / binned.sum()).astype(np.float32)


def make_setup(options: TrainOptions) -> TrainingSetup:
    """Return the setup that the options select.

    Raises
    ------
    ValueError
        If the form is unknown, or the probe file does not contain a probe.
    """
    if options.form not in FORMS:
        raise ValueError(f"unknown form {options.form!r}; choose from {', '.join(FORMS)}")
    if options.probe_file is not None:
        return _setup_from_probe(options, options.probe_file)
    instrument = Instrument()
    probe = simulate_probe(instrument)[None]
    rows, columns = instrument.detector_shape
    crop = (0, 0, rows, columns)
    if options.form in _TWO_HEADED:
        architecture = _TWO_HEADED[options.form]()
        return TrainingSetup(instrument, probe, Geometry((rows, columns), crop, 8), architecture, label_binning=2)
    return TrainingSetup(instrument, probe, Geometry((rows, columns), crop, 4), _single_headed(options.form))


def _single_headed(form: Form) -> Architecture:
    return architectures.live() if form == "live" else architectures.ptychonn2(norm=True, bounded=False)


def _setup_from_probe(options: TrainOptions, path: Path) -> TrainingSetup:
    if options.probe_pixel_m is None:
        raise ValueError(f"{path}: unknown pixel size of the probe; set probe_pixel_m (--probe-pixel)")
    if options.form in _TWO_HEADED:
        raise ValueError(f"form {options.form} supports the simulated instrument only; choose live or ptychonn2")
    modes = _read_probe(path)
    side = modes.shape[-1]
    # Wavelength, distance and detector pixel matter only through the object pixel: adapt the distance.
    default = Instrument()
    distance_m = options.probe_pixel_m * side * default.detector_pixel_m / default.wavelength_m
    instrument = Instrument(distance_m=distance_m, detector_shape=(side, side), patch_shape=(side, side))
    # The pattern is magnified until the sample's shadow in it coincides with the patch: small convolutions
    # then do not have to learn a magnification.
    scale, row, column = shadow_scale(modes[int(np.argmax(np.sum(np.abs(modes) ** 2, axis=(1, 2))))])
    resize = (magnification_matrix(side, scale, row), magnification_matrix(side, scale, column))
    geometry = Geometry((side, side), (0, 0, side, side))
    return TrainingSetup(instrument, modes.astype(np.complex64), geometry, _single_headed(options.form), resize=resize)


def _read_probe(path: Path) -> npt.NDArray[np.complexfloating]:
    """Return (modes, rows, columns) complex whose energies sum to 1."""
    try:
        with np.load(path) as file:
            modes = np.asarray(file["probe"], np.complex64)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path}: cannot read array 'probe' (modes, rows, columns): {error}") from error
    modes = modes.reshape(-1, *modes.shape[-2:])
    return modes / np.sqrt(np.sum(np.abs(modes) ** 2))
