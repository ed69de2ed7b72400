"""The probe: the defocused beam of a Fresnel zone plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.science.simulation.fourier import fft2, ifft2
from charon.science.simulation.grid import radius_from_centre

if TYPE_CHECKING:
    from charon.science.simulation.instrument import Instrument


@dataclass(frozen=True)
class ZonePlate:
    """A zone plate with a central stop; the sample is downstream of its focus.

    The default gives a probe of 0.8 um at 10 keV (diameter that contains 90 % of its energy). Within the
    aperture, the far field is a shadow image of the sample. Its scale is close to that of the object: a
    detector pixel of a frame binned by 4 corresponds to 10.3 nm, an object pixel to 10 nm. A network of small
    convolutions therefore does not have to learn a magnification.

    Parameters
    ----------
    outermost_zone_m
        Width of the outermost zone; it determines the numerical aperture, wavelength / (2 width).
    diameter_m, central_stop_m
        Diameters of the plate and of its central stop.
    defocus_m
        Distance from the focus to the sample.
    """

    outermost_zone_m: float = 16e-9
    diameter_m: float = 149e-6
    central_stop_m: float = 50e-6
    defocus_m: float = 106e-6

    def __post_init__(self) -> None:
        if self.outermost_zone_m <= 0 or self.diameter_m <= 0:
            raise ValueError(
                f"diameter_m and outermost_zone_m must be positive, got {self.diameter_m} and {self.outermost_zone_m}"
            )
        if not 0 <= self.central_stop_m < self.diameter_m:
            raise ValueError(
                f"central_stop_m must be between 0 and diameter_m ({self.diameter_m}), got {self.central_stop_m}"
            )

    def focal_length_m(self, wavelength_m: float) -> float:
        """Return the first-order focal length in m."""
        return self.diameter_m * self.outermost_zone_m / wavelength_m


def simulate_probe(instrument: Instrument, zone_plate: ZonePlate | None = None) -> npt.NDArray[np.complex64]:
    """Propagate the aperture of a zone plate to the sample.

    Parameters
    ----------
    instrument
        Wavelength, object pixel and patch shape.
    zone_plate
        Optics; default: a probe of 0.8 um.

    Returns
    -------
    ndarray
        (rows, columns) complex64 on the patch's grid, of unit energy, centred on pixel (rows / 2, columns / 2).

    References
    ----------
    Fresnel propagation by transfer function: Goodman, Introduction to Fourier Optics, chapter 4;
    zone plates: Kirz, J. Opt. Soc. Am. 64, 301 (1974), doi:10.1364/JOSA.64.000301.
    """
    plate = zone_plate or ZonePlate()
    # The detector's grid samples frequency more finely than the patch's, which avoids wrap-around in the patch.
    grid = instrument.detector_shape[0]
    frequency = np.fft.fftfreq(grid, instrument.object_pixel_m)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    frequency_per_m = 1.0 / (instrument.wavelength_m * plate.focal_length_m(instrument.wavelength_m))
    radius = np.sqrt(squared)
    bin_width = 1.0 / (grid * instrument.object_pixel_m)
    outer = _disc(radius, plate.diameter_m / 2 * frequency_per_m, bin_width)
    inner = _disc(radius, plate.central_stop_m / 2 * frequency_per_m, bin_width)
    defocus = np.pi * instrument.wavelength_m * plate.defocus_m * squared
    aperture = ((outer - inner) * np.exp(-1j * defocus)).astype(np.complex128)
    field = np.fft.fftshift(ifft2(aperture))
    start = (grid - instrument.patch_shape[0]) // 2
    probe = field[start : start + instrument.patch_shape[0], start : start + instrument.patch_shape[1]]
    return (probe / np.sqrt(np.sum(np.abs(probe) ** 2))).astype(np.complex64)


def _disc(radius: npt.NDArray[np.float64], edge: float, softness: float) -> npt.NDArray[np.float64]:
    """Return a disc with an edge one frequency bin wide, to avoid diffraction from a pixelated edge."""
    if edge <= 0:
        return np.zeros_like(radius)
    return np.clip(0.5 + (edge - radius) / softness, 0.0, 1.0)


def energy_diameter(probe: npt.NDArray[np.complexfloating], pixel_m: float, fraction: float = 0.9) -> float:
    """Return the diameter in m of the centred disc that contains a fraction of the probe's energy.

    Parameters
    ----------
    probe
        (rows, columns) complex, or (modes, rows, columns) of incoherent modes.
    pixel_m
        Pixel size in m.
    fraction
        Fraction of the energy, between 0 and 1.
    """
    intensity: npt.NDArray[np.floating] = np.sum(np.abs(probe.reshape(-1, *probe.shape[-2:])) ** 2, axis=0)
    radius = radius_from_centre(intensity.shape).ravel()
    order = np.argsort(radius, kind="stable")
    cumulative = np.cumsum(intensity.ravel()[order])
    index = int(cumulative.searchsorted(fraction * float(cumulative[-1])))
    return 2.0 * float(radius[order][min(index, radius.size - 1)]) * pixel_m


def shadow_scale(mode: npt.NDArray[np.complexfloating]) -> tuple[float, float, float]:
    """Return scale and centre of the shadow image of the sample in the far field of a defocused probe.

    Light that reaches the detector at frequency bin q passed the sample at ``centre + scale * q``. This is the
    group delay of the probe's spectrum, fitted with a straight line.

    Parameters
    ----------
    mode
        (N, N) complex, the strongest mode of the probe.

    Returns
    -------
    tuple
        Object pixels per frequency bin (1 / (N pixel)), and row and column of the centre relative to (N/2, N/2).
    """
    size = len(mode)
    spectrum = np.fft.fftshift(fft2(np.fft.ifftshift(mode).astype(np.complex128)))
    bins = np.arange(size - 1) - size / 2 + 0.5
    delay_y = np.sum(spectrum[1:] * np.conj(spectrum[:-1]), axis=1)
    delay_x = np.sum(spectrum[:, 1:] * np.conj(spectrum[:, :-1]), axis=0)
    scales = np.linspace(-8.0, 8.0, 3201)
    lines = np.exp(2j * np.pi / size * np.multiply.outer(scales, bins))
    best = int(np.argmax(np.abs(lines @ delay_y) + np.abs(lines @ delay_x)))
    centre = [-float(np.angle(lines[best] @ delay)) * size / (2 * np.pi) for delay in (delay_y, delay_x)]
    return float(scales[best]), centre[0], centre[1]
