"""Create the simulated or recorded frames that ``charonctl detector`` publishes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters import recordings, simulator
from charon.errors import UsageError
from charon.science import simulation

if TYPE_CHECKING:
    from charon.cli.detector.settings import Settings

_SAMPLE_PIXELS = 768
_MARGIN_PIXELS = 4


def make_series(settings: Settings) -> tuple[simulator.Series, simulation.Experiment | None]:
    """Return the frames, and the experiment if they are simulated.

    Raises
    ------
    UsageError
        If the frames cannot be read or simulated.
    """
    if settings.input_file is not None or settings.input_directory is not None:
        return _recorded(settings), None
    positions = _positions(settings)
    dtype = np.dtype(settings.datatype)
    shape = (settings.n_y_pixels, settings.n_x_pixels)
    if settings.sample == "noise":
        return simulator.noise_series(shape, dtype, positions, seed=settings.seed), None
    try:
        instrument = _instrument(shape)
        experiment = simulation.Experiment(
            instrument,
            _sample(settings, instrument, positions),
            positions,
            flux=settings.flux,
            seed=settings.seed,
            dtype=dtype,
            dead_pixels=settings.dead_pixels,
            saturation=settings.saturation,
        )
    except ValueError as error:
        raise UsageError(f"cannot simulate this experiment: {error}") from error
    return simulator.simulated_series(experiment), experiment


def _instrument(shape: tuple[int, int]) -> simulation.Instrument:
    """Return the default instrument with another detector shape, at a distance that keeps the object's pixel size."""
    default = simulation.Instrument()
    patch = min(default.patch_shape[0], *shape)
    distance_m = default.distance_m * shape[0] / default.detector_shape[0]
    return simulation.Instrument(distance_m=distance_m, detector_shape=shape, patch_shape=(patch, patch))


def _positions(settings: Settings) -> np.ndarray[Any, np.dtype[np.float64]]:
    if settings.scan in ("raster", "snake"):
        if settings.points is not None:
            return simulation.make_scan(settings.scan, settings.points, settings.step)
        lines, points = settings.shape or (48, 48)
        grid = simulation.raster if settings.scan == "raster" else simulation.snake
        return grid(lines, points, settings.step)
    if settings.scan == "spiral":
        return simulation.spiral(settings.points or 2304, settings.step)
    path = Path(settings.scan)
    if not path.exists():
        raise UsageError(f"--scan {path}: not raster, snake or spiral, and no such file")
    positions = recordings.read_positions(path, scale_m=settings.position_scale, order=settings.position_order)
    return positions[: settings.points]


def _sample(
    settings: Settings, instrument: simulation.Instrument, positions: np.ndarray[Any, np.dtype[np.float64]]
) -> simulation.Sample:
    """Return a sample that is large enough for every patch of the scan."""
    half_side = math.ceil(float(np.abs(positions).max()) / instrument.object_pixel_m) + _MARGIN_PIXELS
    side = max(_SAMPLE_PIXELS, 2 * half_side + instrument.patch_shape[0])
    pixel_m = instrument.object_pixel_m
    if settings.sample == "star":
        return simulation.siemens_star((side, side), pixel_m=pixel_m)
    if settings.sample == "tungsten":
        return simulation.tungsten_test_pattern((side, side), pixel_m=pixel_m, seed=settings.seed)
    return simulation.demo_sample((side, side), pixel_m=pixel_m, seed=settings.seed)


def _recorded(settings: Settings) -> simulator.Series:
    files = [settings.input_file] if settings.input_file else []
    if settings.input_directory is not None:
        files += sorted(p for p in settings.input_directory.iterdir() if recordings.is_recording(p))
    if not files:
        raise UsageError(f"{settings.input_directory} contains no recordings")
    opened = [
        recordings.open_recording(
            path,
            dataset=settings.hdf_dataset,
            positions=settings.positions,
            position_scale_m=settings.position_scale,
            position_order=settings.position_order,
            fftshift=settings.fftshift,
        )
        for path in files
    ]
    frames = recordings.join(opened)
    positions_m = [r.positions_m for r in opened if r.positions_m is not None]
    return simulator.Series(
        opened[0].name if len(opened) == 1 else f"{len(opened)} recordings",
        len(frames),
        lambda index: frames[index][0].frame(frames[index][1]),
        np.concatenate(positions_m) if len(positions_m) == len(opened) else None,
    )
