"""Samples with known phase for demos and evaluation; networks are never trained on them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from charon.science.simulation import shapes
from charon.science.simulation.sample import Sample
from charon.science.simulation.smoothing import gaussian_filter

if TYPE_CHECKING:
    from charon.science.simulation.shapes import Layer

DEFAULT_PIXEL_M = 10e-9
# Phase and absorption of about 0.5 um of tungsten at 10 keV, rounded.
_PHASE_RAD = -0.8
_ABSORPTION = 0.12
# Etched side walls are sloped: the thickness rises over about 20 nm, a Gaussian of this standard deviation.
_SIDEWALL_M = 10e-9


def from_thickness(
    thickness: Layer,
    pixel_m: float,
    name: str,
    *,
    phase_rad: float = _PHASE_RAD,
    absorption: float = _ABSORPTION,
) -> Sample:
    """Return the sample of a relative thickness, with slightly sloped side walls.

    Parameters
    ----------
    thickness
        (rows, columns) float32 between 0 (empty) and 1 (full thickness).
    pixel_m
        Pixel size in m.
    name
        Name of the sample.
    phase_rad
        Phase at full thickness; negative, because matter advances the phase of X-rays.
    absorption
        Fraction of the amplitude that full thickness absorbs, below 1.
    """
    smoothed = gaussian_filter(thickness, _SIDEWALL_M / pixel_m)
    wave = np.exp(smoothed * np.complex64(math.log(1.0 - absorption) + 1j * phase_rad))
    return Sample(wave.astype(np.complex64), pixel_m, name)


def siemens_star(
    shape: tuple[int, int] = (768, 768), *, pixel_m: float = DEFAULT_PIXEL_M, spoke_count: int = 18
) -> Sample:
    """Return a Siemens star: spokes that become finer towards the centre, inside a ring.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_m
        Pixel size in m.
    spoke_count
        Number of spokes.
    """
    layer = np.zeros(shape, np.float32)
    centre = (shape[0] / 2, shape[1] / 2)
    outer = 0.38 * min(shape)
    _draw_star(layer, centre, outer, spoke_count)
    return from_thickness(layer, pixel_m, "siemens-star")


def tungsten_test_pattern(
    shape: tuple[int, int] = (768, 768), *, pixel_m: float = DEFAULT_PIXEL_M, seed: int = 0
) -> Sample:
    """Return a test pattern: blocks, L-shapes, dots and bars, coarse and fine, on a grid of fields.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_m
        Pixel size in m.
    seed
        Random seed for the motif of each field.
    """
    rng = np.random.default_rng(seed)
    layer = np.zeros(shape, np.float32)
    field = 96
    for row in range(field // 2, shape[0], field):
        for column in range(field // 2, shape[1], field):
            motif = _MOTIFS[int(rng.integers(len(_MOTIFS)))]
            motif(layer, (float(row), float(column)), 0.8 * field, rng)
    return from_thickness(layer, pixel_m, "tungsten-test-pattern")


def demo_sample(shape: tuple[int, int] = (768, 768), *, pixel_m: float = DEFAULT_PIXEL_M, seed: int = 0) -> Sample:
    """Return an easily recognised test chart: a star, a label below it, and gratings and chips around it.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_m
        Pixel size in m.
    seed
        Random seed for the chips around the chart.
    """
    rng = np.random.default_rng(seed)
    layer = np.zeros(shape, np.float32)
    centre = (shape[0] / 2, shape[1] / 2)
    unit = min(shape) / 768
    _draw_chips(layer, rng, centre, 300 * unit)
    shapes.draw(layer, shapes.disc(148 * unit), (centre[0] - 30 * unit, centre[1]), 148 * unit, 0.0)
    _draw_star(layer, (centre[0] - 30 * unit, centre[1]), 130 * unit, 16)
    _draw_text(layer, "CHARON", (centre[0] + 150 * unit, centre[1]), 5.0 * unit)
    for index, pitch in enumerate((6, 8, 12, 16, 24)):
        direction = math.pi * (1.04 + 0.23 * index)
        position = (
            centre[0] - 30 * unit + 195 * unit * math.sin(direction),
            centre[1] + 195 * unit * math.cos(direction),
        )
        shapes.draw(layer, shapes.box(70 * unit, 70 * unit), position, 60 * unit, 0.0)
        angle = 0.0 if index % 2 else math.pi / 2
        shapes.draw(layer, shapes.grating(pitch * unit, 60 * unit, angle), position, 50 * unit)
    return from_thickness(layer, pixel_m, "test-chart")


def _draw_star(layer: Layer, centre: tuple[float, float], outer: float, count: int) -> None:
    shapes.draw(layer, shapes.spokes(count, outer, outer * 0.08), centre, outer)
    shapes.draw(layer, shapes.ring(outer * 1.06, outer * 0.04), centre, outer * 1.1)


def _draw_text(layer: Layer, text: str, centre: tuple[float, float], cell: float) -> None:
    """Draw a text on a cleared label."""
    pitch = 6.5 * cell
    width = pitch * len(text)
    shapes.draw(layer, shapes.box(11 * cell, width + 3 * cell), centre, width, 0.0)
    for index, character in enumerate(text):
        position = (centre[0], centre[1] + (index - (len(text) - 1) / 2) * pitch)
        shapes.draw(layer, shapes.bitmap(shapes.glyph(character), cell), position, 5 * cell)


def _draw_chips(layer: Layer, rng: np.random.Generator, centre: tuple[float, float], reach: float) -> None:
    """Scatter small L-shapes and dots of full and half thickness, like coarse alignment marks."""
    for _ in range(90):
        position = (centre[0] + rng.uniform(-reach, reach), centre[1] + rng.uniform(-reach, reach))
        size = float(rng.uniform(10, 26))
        height = float(rng.choice([0.5, 1.0]))
        if rng.random() < 0.5:
            shapes.draw(layer, shapes.disc(size / 2), position, size, height)
        else:
            shapes.draw(layer, shapes.box(size / 3, size), position, size, height)
            corner = (position[0] - size / 3, position[1] - size / 3)
            shapes.draw(layer, shapes.box(size, size / 3), corner, size, height)


def _block(layer: Layer, centre: tuple[float, float], size: float, rng: np.random.Generator) -> None:
    shapes.draw(layer, shapes.box(size * rng.uniform(0.4, 1.0), size * rng.uniform(0.4, 1.0)), centre, size)


def _corner(layer: Layer, centre: tuple[float, float], size: float, rng: np.random.Generator) -> None:
    width = size * float(rng.uniform(0.15, 0.35))
    side = 1.0 if rng.random() < 0.5 else -1.0
    shapes.draw(layer, shapes.box(width, size), (centre[0] + side * (size - width) / 2, centre[1]), size)
    shapes.draw(layer, shapes.box(size, width), (centre[0], centre[1] - side * (size - width) / 2), size)


def _dots(layer: Layer, centre: tuple[float, float], size: float, rng: np.random.Generator) -> None:
    count = int(rng.integers(2, 6))
    pitch = size / count
    for row in range(count):
        for column in range(count):
            position = (centre[0] + (row - (count - 1) / 2) * pitch, centre[1] + (column - (count - 1) / 2) * pitch)
            shapes.draw(layer, shapes.disc(0.3 * pitch), position, pitch)


def _bars(layer: Layer, centre: tuple[float, float], size: float, rng: np.random.Generator) -> None:
    pitch = float(rng.choice([6.0, 8.0, 12.0, 20.0, 30.0]))
    angle = 0.0 if rng.random() < 0.5 else math.pi / 2
    shapes.draw(layer, shapes.grating(pitch, size, angle), centre, size)


def _empty(layer: Layer, centre: tuple[float, float], size: float, rng: np.random.Generator) -> None:
    """Leave a field empty."""


_MOTIFS = (_block, _corner, _dots, _bars, _bars, _empty)
