"""A simulated scan: the frames that a counting detector would record of a known object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.science.simulation.counting import draw_counts
from charon.science.simulation.fourier import fft, fft2, ifft2
from charon.science.simulation.probe import simulate_probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charon.science.simulation.instrument import Instrument
    from charon.science.simulation.sample import Sample

DEFAULT_FLUX = 1e6

_DEAD_PIXEL_STREAM = 0
_FRAME_STREAM = 1


class Experiment:
    """Frames of a scan over a sample, each a function of the seed and its number alone.

    Parameters
    ----------
    instrument
        Geometry of detector and object grid.
    sample
        The object and where it lies.
    positions
        (N, 2) float64: x and y in m of the patch's centre; every patch has to lie within the sample.
    flux
        Photons a frame without sample; absorption takes its part from them.
    seed
        Of photon noise and dead pixels.
    dtype
        Of the frames: any integer or floating type.
    dead_pixels
        How many pixels of the detector always read 0.
    saturation
        Largest count that a pixel shows, by default the largest of `dtype`.
    probe
        (rows, columns) complex, or (modes, rows, columns) of incoherent modes, on the patch's grid;
        by default that of a zone plate, see `simulate_probe`.

    Raises
    ------
    ValueError
        If a patch leaves the sample, or shapes and pixels do not agree.
    """

    def __init__(
        self,
        instrument: Instrument,
        sample: Sample,
        positions: npt.NDArray[np.float64],
        *,
        flux: float = DEFAULT_FLUX,
        seed: int = 0,
        dtype: npt.DTypeLike = np.int16,
        dead_pixels: int = 0,
        saturation: int | None = None,
        probe: npt.NDArray[np.complexfloating] | None = None,
    ) -> None:
        if not flux > 0:
            raise ValueError(f"flux has to be positive, got {flux}")
        self.instrument = instrument
        self.sample = sample
        self.positions_m = np.array(positions, np.float64)
        self.flux = float(flux)
        self.seed = int(seed)
        self.dtype = np.dtype(dtype)
        self.saturation = _largest_count(self.dtype, saturation)
        self.probe = _unit_probe(simulate_probe(instrument) if probe is None else probe, instrument)
        self._probe_spectrum = fft2(self.probe)
        self._corners, self._fractions = _split_positions(instrument, sample, self.positions_m)
        self.dead_mask = _draw_dead_pixels(instrument.detector_shape, dead_pixels, self.seed)
        self._any_dead = dead_pixels > 0

    def __len__(self) -> int:
        return len(self.positions_m)

    def __iter__(self) -> Iterator[npt.NDArray[np.generic]]:
        return (self.frame(index) for index in range(len(self)))

    @property
    def truth(self) -> npt.NDArray[np.complex64]:
        """The object's transmission, (rows, columns) complex64."""
        return self.sample.transmission

    @property
    def origin_m(self) -> tuple[float, float]:
        """X and y in m of the centre of the truth's pixel (0, 0)."""
        return self.sample.origin_m

    def frame(self, index: int) -> npt.NDArray[np.generic]:
        """Return one frame as recorded: noise, dead pixels, saturation.

        Parameters
        ----------
        index
            Of the scan position.

        Returns
        -------
        ndarray
            `instrument.detector_shape`, of the experiment's dtype, counts, zero frequency in the centre
            (pixel (rows / 2, columns / 2)).
        """
        rng = np.random.Generator(np.random.SFC64((self.seed, _FRAME_STREAM, index)))
        counts = draw_counts(self.expected(index), rng)
        if self._any_dead:
            counts[self.dead_mask] = 0
        return np.minimum(counts, self.saturation, out=counts).astype(self.dtype)

    def expected(self, index: int) -> npt.NDArray[np.float32]:
        """Return a frame's expected counts, without noise, dead pixels or saturation.

        Parameters
        ----------
        index
            Of the scan position.

        Returns
        -------
        ndarray
            `instrument.detector_shape`, float32, zero frequency in the centre.
        """
        rows, columns = self.instrument.patch_shape
        row, column = self._corners[index]
        patch = self.sample.transmission[row : row + rows, column : column + columns]
        modes = shift_spectrum(self._probe_spectrum, self._fractions[index])
        return np.float32(self.flux) * diffract(modes * patch, self.instrument.detector_shape)


def diffract(exit_waves: npt.NDArray[np.complexfloating], shape: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Propagate exit waves to the far field and add their intensities.

    Parameters
    ----------
    exit_waves
        (modes, rows, columns) complex.
    shape
        Of the detector, even and at least as large as the waves, which are padded with zeros.

    Returns
    -------
    ndarray
        `shape`, float32, zero frequency in the centre; it sums to the waves' energy.
    """
    rows, columns = exit_waves.shape[-2:]
    # A sign that alternates from pixel to pixel moves zero frequency to the centre: no fftshift of the result.
    signs = _alternating(rows)[:, None] * _alternating(columns)[None, :]
    intensity = np.zeros(shape, np.float32)
    for wave in exit_waves.astype(np.complex64, copy=False):
        # Along the rows only those that hold the wave are transformed; the others are zero.
        partial = fft(wave * signs, shape[1], axis=1)
        field = fft(partial, shape[0], axis=0, overwrite=True)
        intensity += np.square(field.real)
        intensity += np.square(field.imag)
    intensity /= np.float32(shape[0] * shape[1])
    return intensity


def shift_spectrum(
    spectrum: npt.NDArray[np.complexfloating], shift: npt.NDArray[np.float64]
) -> npt.NDArray[np.complex64]:
    """Return a field that is moved by a part of a pixel, from its spectrum.

    Parameters
    ----------
    spectrum
        (modes, rows, columns) complex, of the field, zero frequency at (0, 0).
    shift
        (2,) rows and columns.

    Returns
    -------
    ndarray
        (modes, rows, columns) complex64.
    """
    ramp_y = np.exp(-2j * np.pi * np.fft.fftfreq(spectrum.shape[-2]) * shift[0])
    ramp_x = np.exp(-2j * np.pi * np.fft.fftfreq(spectrum.shape[-1]) * shift[1])
    ramp = np.multiply.outer(ramp_y, ramp_x).astype(np.complex64)
    return ifft2(spectrum * ramp).astype(np.complex64, copy=False)


def _alternating(length: int) -> npt.NDArray[np.float32]:
    return (1 - 2 * (np.arange(length) % 2)).astype(np.float32)


def _unit_probe(probe: npt.NDArray[np.complexfloating], instrument: Instrument) -> npt.NDArray[np.complex64]:
    """Return (modes, rows, columns) complex64 whose energies sum to 1."""
    modes = probe.reshape(-1, *probe.shape[-2:])
    if modes.shape[-2:] != instrument.patch_shape:
        raise ValueError(f"the probe's shape {modes.shape[-2:]} is not the patch's {instrument.patch_shape}")
    return (modes / np.sqrt(np.sum(np.abs(modes) ** 2))).astype(np.complex64)


def _split_positions(
    instrument: Instrument, sample: Sample, positions_m: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Split positions into whole pixels, the corner of the patch, and parts of a pixel.

    The probe is moved by the part and the object is not interpolated: that is exact, and the
    truth keeps its resolution.
    """
    if positions_m.ndim != 2 or positions_m.shape[1] != 2 or not np.isfinite(positions_m).all():
        raise ValueError(f"positions have to be finite and (N, 2), got {positions_m.shape}")
    pixel = instrument.object_pixel_m
    if not np.isclose(pixel, sample.pixel_m, rtol=1e-6, atol=0.0):
        raise ValueError(f"the sample's pixel is {sample.pixel_m} m, the instrument's is {pixel} m")
    centres = (positions_m[:, ::-1] - np.array(sample.origin_m)[::-1]) / pixel
    nearest = np.rint(centres).astype(np.int64)
    corners = nearest - np.array(instrument.patch_shape) // 2
    ends = corners + np.array(instrument.patch_shape)
    outside = np.flatnonzero((corners < 0).any(axis=1) | (ends > np.array(sample.transmission.shape)).any(axis=1))
    if outside.size:
        first = int(outside[0])
        raise ValueError(
            f"{outside.size} of {len(positions_m)} patches leave the sample {sample.transmission.shape}, "
            f"the first at position {first}, (x, y) = {tuple(positions_m[first])} m"
        )
    return corners, centres - nearest


def _largest_count(dtype: np.dtype[np.generic], saturation: int | None) -> int:
    limit = int(np.iinfo(dtype.str).max) if np.issubdtype(dtype, np.integer) else 2**31 - 1
    if saturation is None:
        return min(limit, 2**31 - 1)
    if not 0 < saturation <= limit:
        raise ValueError(f"saturation {saturation} is not within 1 and {limit}, what {dtype} holds")
    return saturation


def _draw_dead_pixels(shape: tuple[int, int], count: int, seed: int) -> npt.NDArray[np.bool_]:
    if not 0 <= count < shape[0] * shape[1]:
        raise ValueError(f"dead_pixels {count} is not within 0 and {shape[0] * shape[1]}")
    rng = np.random.default_rng((seed, _DEAD_PIXEL_STREAM))
    mask = np.zeros(shape[0] * shape[1], np.bool_)
    mask[rng.choice(mask.size, count, replace=False)] = True
    return mask.reshape(shape)
