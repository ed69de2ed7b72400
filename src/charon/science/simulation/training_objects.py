"""Random objects to train networks on, distinct from the samples of demos and evaluation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from charon.science.simulation import shapes
from charon.science.simulation.sample import Sample
from charon.science.simulation.smoothing import gaussian_filter, zoom

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.science.simulation.shapes import Distance, Layer

_MIN_PHASE_RAD = -1.2
_MAX_PHASE_RAD = 0.3
_MAX_ABSORPTION = 0.3


def random_shapes(shape: tuple[int, int], seed: int, *, pixel_m: float = 10e-9) -> Sample:
    """Draw an object from the training distribution.

    Each object first draws its own parameters (phase range, absorption, frequency of each shape, sizes) and
    then its shapes, so that objects differ in composition.

    Parameters
    ----------
    shape
        Rows and columns.
    seed
        Random seed.
    pixel_m
        Pixel size in m.

    Returns
    -------
    Sample
        Phase from about -1.2 to 0.3 rad, absorption up to 0.3.
    """
    rng = np.random.default_rng(seed)
    thickness = np.zeros(shape, np.float32)
    _draw_all(thickness, rng)
    thickness = gaussian_filter(thickness, float(rng.uniform(0.3, 1.6)))
    phase = np.float32(rng.uniform(_MIN_PHASE_RAD, -0.25)) * thickness
    if rng.random() < 0.15:
        phase *= np.float32(_MAX_PHASE_RAD / _MIN_PHASE_RAD)
    # Absorption is proportional to thickness, with a factor independent of the phase: materials differ.
    decay = -np.log1p(-rng.uniform(0.0, _MAX_ABSORPTION)) * thickness
    if rng.random() < 0.2:
        phase += _smooth(shape, rng, 0.3)
    if rng.random() < 0.2:
        decay *= np.float32(1.0) + _smooth(shape, rng, 0.5)
    np.clip(phase, _MIN_PHASE_RAD, _MAX_PHASE_RAD, out=phase)
    transmission = np.exp(-decay + 1j * phase).astype(np.complex64)
    return Sample(transmission, pixel_m, f"random-shapes-{seed}")


def _draw_all(layer: Layer, rng: np.random.Generator) -> None:
    """Draw shapes until their total area reaches a random budget, so that part of the background stays empty."""
    probabilities = rng.dirichlet(np.full(len(_SHAPES), 0.5))
    typical_size = float(np.exp(rng.uniform(float(np.log(8.0)), float(np.log(70.0)))))
    budget = float(rng.uniform(0.1, 1.1)) * layer.size
    two_levels = rng.random() < 0.75
    rows, columns = (int(length) for length in layer.shape)
    while budget > 0:
        size = float(np.clip(typical_size * np.exp(rng.normal(0.0, 0.6)), 4.0, 160.0))
        make_shape = _SHAPES[int(rng.choice(len(_SHAPES), p=probabilities))]
        centre = (float(rng.uniform(0, rows)), float(rng.uniform(0, columns)))
        height = float(rng.choice([0.0, 1.0, 1.0, 1.0])) if two_levels else float(rng.uniform(0.0, 1.0))
        shapes.draw(layer, make_shape(size, rng), centre, 1.5 * size, height)
        budget -= size * size


def _smooth(shape: tuple[int, int], rng: np.random.Generator, amplitude: float) -> npt.NDArray[np.float32]:
    """Return a smooth field of random length scale and of magnitude `amplitude` at most."""
    coarse = rng.normal(size=(max(3, shape[0] // int(rng.integers(24, 120))),) * 2)
    field = zoom(coarse, shape)
    return (rng.uniform(0.2, 1.0) * amplitude * (field / np.max(np.abs(field)))).astype(np.float32)


def _disc(size: float, rng: np.random.Generator) -> Distance:  # noqa: ARG001 - all shapes share one signature
    return shapes.disc(size / 2)


def _ring(size: float, rng: np.random.Generator) -> Distance:
    return shapes.ring(size / 2, size * float(rng.uniform(0.1, 0.5)))


def _box(size: float, rng: np.random.Generator) -> Distance:
    return shapes.box(size, size * float(rng.uniform(0.3, 1.5)), _angle(rng))


def _bar(size: float, rng: np.random.Generator) -> Distance:
    return shapes.box(max(2.5, size * float(rng.uniform(0.05, 0.25))), 2.5 * size, _angle(rng))


def _polygon(size: float, rng: np.random.Generator) -> Distance:
    count = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count)) + np.linspace(0, 1e-3, count)
    return shapes.convex_polygon([(0.7 * size * np.sin(a), 0.7 * size * np.cos(a)) for a in angles])


def _grating(size: float, rng: np.random.Generator) -> Distance:
    return shapes.grating(max(5.0, size * float(rng.uniform(0.1, 0.5))), 1.5 * size, _angle(rng))


def _spokes(size: float, rng: np.random.Generator) -> Distance:
    # A patch contains only part of a star: wedges at any distance from the centre.
    return shapes.spokes(int(rng.integers(3, 30)), size, size * float(rng.uniform(0.05, 0.5)), _angle(rng))


def _glyph(size: float, rng: np.random.Generator) -> Distance:
    bits = rng.random((int(rng.integers(3, 8)), int(rng.integers(3, 6)))) < rng.uniform(0.4, 0.7)
    return shapes.bitmap(bits, max(2.5, size / 6))


def _angle(rng: np.random.Generator) -> float:
    """Draw an angle; half of them follow an axis, as in fabricated structures."""
    return float(rng.choice([0.0, np.pi / 2])) if rng.random() < 0.5 else float(rng.uniform(0, np.pi))


_SHAPES: tuple[Callable[[float, np.random.Generator], Distance], ...] = (
    _disc,
    _ring,
    _box,
    _bar,
    _polygon,
    _grating,
    _spokes,
    _glyph,
)
