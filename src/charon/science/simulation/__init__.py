"""Simulated ptychography experiments: instrument, probe, samples, scans, frames with photon noise."""

from charon.science.simulation.experiment import DEFAULT_FLUX, Experiment, diffract, shift_spectrum
from charon.science.simulation.instrument import Instrument, wavelength_from_energy
from charon.science.simulation.objects import demo_sample, from_thickness, siemens_star, tungsten_test_pattern
from charon.science.simulation.probe import ZonePlate, energy_diameter, shadow_scale, simulate_probe
from charon.science.simulation.sample import Sample
from charon.science.simulation.scans import (
    DEFAULT_STEP_M,
    Pattern,
    from_route,
    make_scan,
    raster,
    snake,
    spiral,
    with_jitter,
)
from charon.science.simulation.training_objects import random_shapes

__all__ = [
    "DEFAULT_FLUX",
    "DEFAULT_STEP_M",
    "Experiment",
    "Instrument",
    "Pattern",
    "Sample",
    "ZonePlate",
    "demo_sample",
    "diffract",
    "energy_diameter",
    "from_route",
    "from_thickness",
    "make_scan",
    "random_shapes",
    "raster",
    "shadow_scale",
    "shift_spectrum",
    "siemens_star",
    "simulate_probe",
    "snake",
    "spiral",
    "tungsten_test_pattern",
    "wavelength_from_energy",
    "with_jitter",
]
