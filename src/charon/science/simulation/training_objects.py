"""Objects to train on: random shapes of many kinds, none of them a sample that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from charon.science.simulation import shapes
from charon.science.simulation.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.science.simulation.shapes import Distance, Layer

_DEEPEST_RAD = -1.2
_HIGHEST_RAD = 0.3
_MOST_ABSORBED = 0.3


def random_shapes(shape: tuple[int, int], seed: int, *, pixel_m: float = 10e-9) -> Sample:
    """Draw an object from the distribution that networks are trained on.

    Every object draws its own palette (depth of phase, absorption, share of kinds, sizes) and then its
    shapes: what one object has few of, another has many of.

    Parameters
    ----------
    shape
        Rows and columns.
    seed
        Of everything.
    pixel_m
        Side of a pixel.

    Returns
    -------
    Sample
        Phase from about -1.2 to 0.3 rad, absorption up to 0.3.
    """
    rng = np.random.default_rng(seed)
    thickness = np.zeros(shape, np.float32)
    _draw_all(thickness, rng)
    thickness = ndimage.gaussian_filter(thickness, float(rng.uniform(0.3, 1.6)))
    phase = np.float32(rng.uniform(_DEEPEST_RAD, -0.25)) * thickness
    if rng.random() < 0.15:
        phase *= np.float32(_HIGHEST_RAD / _DEEPEST_RAD)
    # Shapes are not all of one material: absorption follows thickness up to a factor of its own.
    decay = -np.log1p(-rng.uniform(0.0, _MOST_ABSORBED)) * thickness
    if rng.random() < 0.2:
        phase += _smooth(shape, rng, 0.3)
    if rng.random() < 0.2:
        decay *= np.float32(1.0) + _smooth(shape, rng, 0.5)
    np.clip(phase, _DEEPEST_RAD, _HIGHEST_RAD, out=phase)
    transmission = np.exp(-decay + 1j * phase).astype(np.complex64)
    return Sample(transmission, pixel_m, f"random-shapes-{seed}")


def _draw_all(layer: Layer, rng: np.random.Generator) -> None:
    """Fill a layer; the number of shapes follows from their sizes, so that some of the ground stays bare."""
    weights = rng.dirichlet(np.full(len(_KINDS), 0.5))
    typical = float(np.exp(rng.uniform(np.log(8.0), np.log(70.0))))
    budget = float(rng.uniform(0.1, 1.1)) * layer.size
    two_levels = rng.random() < 0.75
    while budget > 0:
        size = float(np.clip(typical * np.exp(rng.normal(0.0, 0.6)), 4.0, 160.0))
        kind = _KINDS[int(rng.choice(len(_KINDS), p=weights))]
        centre = (float(rng.uniform(0, layer.shape[0])), float(rng.uniform(0, layer.shape[1])))
        height = float(rng.choice([0.0, 1.0, 1.0, 1.0])) if two_levels else float(rng.uniform(0.0, 1.0))
        shapes.draw(layer, kind(size, rng), centre, 1.5 * size, height)
        budget -= size * size


def _smooth(shape: tuple[int, int], rng: np.random.Generator, amplitude: float) -> npt.NDArray[np.float32]:
    """Return a smooth field of random length scale, largest magnitude `amplitude` at most."""
    coarse = rng.normal(size=(max(3, shape[0] // int(rng.integers(24, 120))),) * 2)
    field = ndimage.zoom(coarse, (shape[0] / coarse.shape[0], shape[1] / coarse.shape[1]), order=3)
    field = field[: shape[0], : shape[1]] / np.max(np.abs(field))
    return (rng.uniform(0.2, 1.0) * amplitude * field).astype(np.float32)


def _disc(size: float, rng: np.random.Generator) -> Distance:  # noqa: ARG001 - all kinds are called alike
    return shapes.disc(size / 2)


def _ring(size: float, rng: np.random.Generator) -> Distance:
    return shapes.ring(size / 2, size * float(rng.uniform(0.1, 0.5)))


def _box(size: float, rng: np.random.Generator) -> Distance:
    return shapes.box(size, size * float(rng.uniform(0.3, 1.5)), _turn(rng))


def _bar(size: float, rng: np.random.Generator) -> Distance:
    return shapes.box(max(2.5, size * float(rng.uniform(0.05, 0.25))), 2.5 * size, _turn(rng))


def _polygon(size: float, rng: np.random.Generator) -> Distance:
    count = int(rng.integers(3, 8))
    angles = np.sort(rng.uniform(0, 2 * np.pi, count)) + np.linspace(0, 1e-3, count)
    return shapes.convex_polygon([(0.7 * size * np.sin(a), 0.7 * size * np.cos(a)) for a in angles])


def _grating(size: float, rng: np.random.Generator) -> Distance:
    return shapes.grating(max(5.0, size * float(rng.uniform(0.1, 0.5))), 1.5 * size, _turn(rng))


def _spokes(size: float, rng: np.random.Generator) -> Distance:
    # Only a part of a star lies in a patch: wedges, at any distance from where they meet.
    return shapes.spokes(int(rng.integers(3, 30)), size, size * float(rng.uniform(0.05, 0.5)), _turn(rng))


def _glyph(size: float, rng: np.random.Generator) -> Distance:
    bits = rng.random((int(rng.integers(3, 8)), int(rng.integers(3, 6)))) < rng.uniform(0.4, 0.7)
    return shapes.bitmap(bits, max(2.5, size / 6))


def _turn(rng: np.random.Generator) -> float:
    """Return an angle; made things lie along the axes more often than not."""
    return float(rng.choice([0.0, np.pi / 2])) if rng.random() < 0.5 else float(rng.uniform(0, np.pi))


_KINDS: tuple[Callable[[float, np.random.Generator], Distance], ...] = (
    _disc,
    _ring,
    _box,
    _bar,
    _polygon,
    _grating,
    _spokes,
    _glyph,
)
