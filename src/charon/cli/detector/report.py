"""Files that ``charonctl detector`` writes: the simulated object and a report of the published frames."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from charon.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from charon.adapters import simulator
    from charon.cli.detector.settings import Settings
    from charon.science import simulation


def write_truth(path: Path, experiment: simulation.Experiment | None) -> None:
    """Write the simulated object: ``object`` (rows, columns) complex64, ``origin_m``, ``pixel_m``, ``positions_m``.

    Raises
    ------
    UsageError
        If the frames are not simulated.
    UnavailableError
        If the file cannot be written.
    """
    if experiment is None:
        raise UsageError("--truth requires a simulated sample")
    with _writing(path):
        np.savez(
            path,
            object=experiment.truth,
            origin_m=np.array(experiment.origin_m),
            pixel_m=experiment.instrument.object_pixel_m,
            positions_m=experiment.positions_m,
        )


def write_report(
    settings: Settings,
    series: simulator.Series,
    acquisitions: Sequence[simulator.Acquisition],
    late_positions: int,
) -> None:
    """Write the ``uniqueId`` and time range of the published frames for each acquisition between two restarts.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """
    if settings.report is None:
        return
    published = sum(len(a.ids) for a in acquisitions)
    elapsed_s = (acquisitions[-1].last_time_ns - acquisitions[0].first_time_ns) / 1e9
    document = {
        "channel": settings.channel_name,
        "series": series.name,
        "scan_id": settings.scan_id,
        "scan_points": series.count,
        "published": published,
        "rate_hz": settings.frame_rate,
        "achieved_hz": (published - 1) / elapsed_s if elapsed_s > 0 else None,
        "positions": {
            "count": late_positions if settings.position_channel else _positions_in_frames(series, published),
            "channel": settings.position_channel,
        },
        "truth": None if settings.truth is None else str(settings.truth),
        "acquisitions": [
            {
                "ids": a.ids.ranges(),
                "count": len(a.ids),
                "dropped": a.dropped.ranges(),
                "bad": {str(unique_id): fault for unique_id, fault in a.faults.items()},
                "late": a.late,
                "first_time_ns": a.first_time_ns,
                "last_time_ns": a.last_time_ns,
            }
            for a in acquisitions
        ],
    }
    with _writing(settings.report):
        settings.report.write_text(json.dumps(document, indent=2) + "\n")


@contextmanager
def _writing(path: Path) -> Generator[None]:
    """Create the folder of a file; convert errors of writing the file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise UnavailableError(f"cannot write {path}: {error.strerror}") from error


def _positions_in_frames(series: simulator.Series, published: int) -> int:
    return published if series.positions_m is not None else 0
