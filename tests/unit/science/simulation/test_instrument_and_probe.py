"""The default instrument has 10 nm pixels and a probe of 0.8 um."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from charon.science.simulation import (
    Instrument,
    ZonePlate,
    energy_diameter,
    shadow_scale,
    simulate_probe,
    wavelength_from_energy,
)


def test_default_object_pixel_is_10_nm() -> None:
    assert Instrument().object_pixel_m == pytest.approx(10e-9, rel=1e-12)
    assert Instrument().patch_extent_m == pytest.approx(1.28e-6)


def test_wavelength_at_10_kev_is_124_pm() -> None:
    assert wavelength_from_energy(10_000) == pytest.approx(1.23984e-10, rel=1e-5)


@pytest.mark.parametrize(
    ("field", "value"),
    [("distance_m", 0.0), ("detector_shape", (512, 256)), ("patch_shape", (127, 127)), ("patch_shape", (1024, 1024))],
)
def test_invalid_geometry_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        Instrument(**{field: value})


def test_default_probe_has_diameter_of_0_8_um() -> None:
    probe = simulate_probe(Instrument())
    assert probe.shape == (128, 128)
    assert probe.dtype == np.complex64
    assert np.sum(np.abs(probe) ** 2) == pytest.approx(1.0, rel=1e-4)
    assert energy_diameter(probe, 10e-9, 0.9) == pytest.approx(0.8e-6, rel=0.05)


def test_probe_in_focus_is_diffraction_limited() -> None:
    plate = ZonePlate(outermost_zone_m=40e-9, defocus_m=0.0, central_stop_m=0.0)
    probe = simulate_probe(Instrument(), plate)
    # The disc of diameter 1.22 wavelength / NA = 2.44 outermost zones contains 84 % of an Airy pattern's energy.
    assert energy_diameter(probe, 10e-9, 0.838) == pytest.approx(2.44 * plate.outermost_zone_m, rel=0.25)
    peak = np.unravel_index(np.argmax(np.abs(probe)), probe.shape)
    assert peak == (64, 64)


def test_default_shadow_scale_fits_binned_detector() -> None:
    instrument = Instrument()
    scale, row, column = shadow_scale(simulate_probe(instrument))
    plate = ZonePlate()
    bin_m = instrument.wavelength_m * plate.defocus_m / (128 * instrument.object_pixel_m)
    assert scale == pytest.approx(bin_m / instrument.object_pixel_m, rel=0.02)
    assert (row, column) == pytest.approx((0.0, 0.0), abs=0.1)


def test_shadow_of_shifted_probe_is_shifted() -> None:
    probe = np.roll(simulate_probe(Instrument()), (3, -5), axis=(0, 1))
    assert shadow_scale(probe)[1:] == pytest.approx((3.0, -5.0), abs=0.1)
