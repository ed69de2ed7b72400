"""A simulated scan: the frames that a photon-counting detector would record of a known sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.science.simulation.fourier import fft, fft2, ifft2
from charon.science.simulation.photon_noise import draw_counts
from charon.science.simulation.probe import simulate_probe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from charon.science.simulation.instrument import Instrument
    from charon.science.simulation.sample import Sample

DEFAULT_FLUX = 1e6

_DEAD_PIXEL_STREAM = 0
_FRAME_STREAM = 1


class Experiment:
    """Frames of a scan over a sample; each frame depends only on the seed and its index.

    Parameters
    ----------
    instrument
        Geometry of detector and object grid.
    sample
        The object and its pixel size.
    positions
        (N, 2) float64: x and y in m of the patch's centre. Every patch must be within the sample.
    flux
        Photons per frame without a sample; absorption reduces them.
    seed
        Random seed for photon noise and dead pixels.
    dtype
        Element type of the frames: any integer or floating type.
    dead_pixels
        Number of detector pixels that always read 0.
    saturation
        Maximum count of a pixel; default: the maximum of `dtype`.
    probe
        (rows, columns) complex, or (modes, rows, columns) of incoherent modes, on the patch's grid;
        default: the probe of a zone plate, see `simulate_probe`.

    Raises
    ------
    ValueError
        If a patch extends beyond the sample, an option is out of range, or shapes or pixel sizes differ.
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
            raise ValueError(f"flux must be positive, got {flux}")
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
        self._has_dead_pixels = dead_pixels > 0

    def __len__(self) -> int:
        return len(self.positions_m)

    def __iter__(self) -> Iterator[npt.NDArray[np.generic]]:
        return (self.frame(index) for index in range(len(self)))

    @property
    def truth(self) -> npt.NDArray[np.complex64]:
        """Transmission of the sample, (rows, columns) complex64."""
        return self.sample.transmission

    @property
    def origin_m(self) -> tuple[float, float]:
        """X and y in m of the centre of pixel (0, 0) of `truth`."""
        return self.sample.origin_m

    def frame(self, index: int) -> npt.NDArray[np.generic]:
        """Return one frame as recorded, with photon noise, dead pixels and saturation.

        Parameters
        ----------
        index
            Index of the scan position.

        Returns
        -------
        ndarray
            (rows, columns) of the detector, of the experiment's dtype, counts; zero frequency at pixel
            (rows / 2, columns / 2).
        """
        rng = np.random.Generator(np.random.SFC64((self.seed, _FRAME_STREAM, index)))
        counts = draw_counts(self.expected(index), rng)
        if self._has_dead_pixels:
            counts[self.dead_mask] = 0
        return np.minimum(counts, self.saturation, out=counts).astype(self.dtype)

    def expected(self, index: int) -> npt.NDArray[np.float32]:
        """Return the expected counts of a frame, without noise, dead pixels or saturation.

        Parameters
        ----------
        index
            Index of the scan position.

        Returns
        -------
        ndarray
            (rows, columns) of the detector, float32; zero frequency at pixel (rows / 2, columns / 2).
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
        Rows and columns of the detector: even, and at least those of the waves, which are padded with zeros.

    Returns
    -------
    ndarray
        (rows, columns) of the detector, float32, zero frequency in the centre. The sum is the energy of the waves.
    """
    rows, columns = exit_waves.shape[-2:]
    # Alternating signs move zero frequency to the centre, which saves an fftshift of the result.
    signs = _alternating(rows)[:, None] * _alternating(columns)[None, :]
    intensity = np.zeros(shape, np.float32)
    for wave in exit_waves.astype(np.complex64, copy=False):
        # Transform only the rows of the wave; the padding rows are zero.
        partial = fft(wave * signs, shape[1], axis=1)
        field = fft(partial, shape[0], axis=0, overwrite=True)
        intensity += np.square(field.real)
        intensity += np.square(field.imag)
    intensity /= np.float32(shape[0] * shape[1])
    return intensity


def shift_spectrum(
    spectrum: npt.NDArray[np.complexfloating], shift: npt.NDArray[np.float64]
) -> npt.NDArray[np.complex64]:
    """Return a field shifted by a fraction of a pixel, from its spectrum.

    Parameters
    ----------
    spectrum
        (modes, rows, columns) complex spectrum of the field, zero frequency at (0, 0).
    shift
        (2,) float64, rows and columns.

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
        raise ValueError(f"the probe has shape {modes.shape[-2:]}, the patch {instrument.patch_shape}; make them equal")
    return (modes / np.sqrt(np.sum(np.abs(modes) ** 2))).astype(np.complex64)


def _split_positions(
    instrument: Instrument, sample: Sample, positions_m: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Split positions into the patch's corner in whole pixels and the remaining fraction of a pixel.

    The fraction shifts the probe rather than the object. This is exact and preserves the resolution of the
    object, which is not interpolated.
    """
    if positions_m.ndim != 2 or positions_m.shape[1] != 2 or not np.isfinite(positions_m).all():
        raise ValueError(f"positions must be finite and of shape (N, 2), got {positions_m.shape}")
    pixel = instrument.object_pixel_m
    if not np.isclose(pixel, sample.pixel_m, rtol=1e-6, atol=0.0):
        raise ValueError(f"the sample has pixels of {sample.pixel_m} m, the instrument of {pixel} m; make them equal")
    centres = (positions_m[:, ::-1] - np.array(sample.origin_m)[::-1]) / pixel
    nearest = np.rint(centres).astype(np.int64)
    corners = nearest - np.array(instrument.patch_shape) // 2
    ends = corners + np.array(instrument.patch_shape)
    outside = np.flatnonzero((corners < 0).any(axis=1) | (ends > np.array(sample.transmission.shape)).any(axis=1))
    if outside.size:
        first = int(outside[0])
        raise ValueError(
            f"{outside.size} of {len(positions_m)} patches extend beyond the sample {sample.transmission.shape}, "
            f"the first at index {first}, (x, y) = {tuple(positions_m[first])} m; use fewer points or a smaller step"
        )
    return corners, centres - nearest


def _largest_count(dtype: np.dtype[np.generic], saturation: int | None) -> int:
    limit = int(np.iinfo(dtype.str).max) if np.issubdtype(dtype, np.integer) else 2**31 - 1
    if saturation is None:
        return min(limit, 2**31 - 1)
    if not 0 < saturation <= limit:
        raise ValueError(f"saturation must be between 1 and {limit} for {dtype}, got {saturation}")
    return saturation


def _draw_dead_pixels(shape: tuple[int, int], count: int, seed: int) -> npt.NDArray[np.bool_]:
    if not 0 <= count < shape[0] * shape[1]:
        raise ValueError(f"dead_pixels must be between 0 and {shape[0] * shape[1] - 1}, got {count}")
    rng = np.random.default_rng((seed, _DEAD_PIXEL_STREAM))
    mask = np.zeros(shape[0] * shape[1], np.bool_)
    mask[rng.choice(mask.size, count, replace=False)] = True
    return mask.reshape(shape)
