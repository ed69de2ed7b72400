"""Geometry of a far-field ptychography instrument: wavelength, detector, distance."""

from __future__ import annotations

from dataclasses import dataclass

_HC_EV_M = 1.239841984e-6
_DEFAULT_WAVELENGTH_M = _HC_EV_M / 10_000.0
_DEFAULT_DETECTOR_PIXEL_M = 55e-6
# With 512 detector pixels, this distance gives an object pixel of exactly 10 nm.
_DEFAULT_DISTANCE_M = 10e-9 * 512 * _DEFAULT_DETECTOR_PIXEL_M / _DEFAULT_WAVELENGTH_M


def wavelength_from_energy(energy_ev: float) -> float:
    """Return the wavelength in m of photons of an energy in eV."""
    if energy_ev <= 0:
        raise ValueError(f"photon energy must be positive, got {energy_ev} eV")
    return _HC_EV_M / energy_ev


@dataclass(frozen=True)
class Instrument:
    """A detector in the far field of a sample, and the resulting object grid.

    The detector determines the object pixel: ``wavelength * distance / (N * pixel)``. A patch is the part of
    the object that contributes to one frame. It is smaller than the N x N pixels that the detector can
    resolve, so that a frame oversamples its patch (4 x 4 by default).

    Project-wide convention: a scan position ``(x, y)`` in m is the centre of a patch; x grows with the column
    and y with the row. Pixel ``(r, c)`` of an ``(H, W)`` patch is at ``y + (r - H / 2) * pixel``,
    ``x + (c - W / 2) * pixel``.

    Parameters
    ----------
    wavelength_m
        Photon wavelength; default: 10 keV.
    detector_pixel_m
        Pitch of the detector's square pixels.
    distance_m
        Distance from sample to detector.
    detector_shape
        Rows and columns of a frame; square and even.
    patch_shape
        Rows and columns of a patch in object pixels; square, even, at most those of the detector.
    """

    wavelength_m: float = _DEFAULT_WAVELENGTH_M
    detector_pixel_m: float = _DEFAULT_DETECTOR_PIXEL_M
    distance_m: float = _DEFAULT_DISTANCE_M
    detector_shape: tuple[int, int] = (512, 512)
    patch_shape: tuple[int, int] = (128, 128)

    def __post_init__(self) -> None:
        for name in ("wavelength_m", "detector_pixel_m", "distance_m"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("detector_shape", "patch_shape"):
            rows, columns = getattr(self, name)
            if rows != columns or rows <= 0 or rows % 2:
                raise ValueError(f"{name} must be square, even and positive, got {(rows, columns)}")
        if self.patch_shape[0] > self.detector_shape[0]:
            raise ValueError(f"patch_shape {self.patch_shape} exceeds detector_shape {self.detector_shape}")

    @property
    def object_pixel_m(self) -> float:
        """Side of one object pixel in m."""
        return self.wavelength_m * self.distance_m / (self.detector_shape[0] * self.detector_pixel_m)

    @property
    def patch_extent_m(self) -> float:
        """Side length of a patch in m."""
        return self.patch_shape[0] * self.object_pixel_m
