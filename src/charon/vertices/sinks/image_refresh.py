"""Compute, publish and write the images of scans on a separate thread."""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.storage.picture import write_png

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from charon.science.stitch import Canvas, StitchedImage
    from charon.vertices.sinks.scan import Scan

    PublishImage = Callable[[NDArray[np.float32], int, int, Mapping[str, str | int | float]], None]
    """Publish an image: (phase in rad, ``uniqueId`` of its latest frame, time of that frame in ns, attributes)."""

_log = logging.getLogger(__name__)

_MIN_PAUSE_RATIO = 10.0
"""Pause after a refresh, in multiples of its duration."""


@dataclass(frozen=True, slots=True)
class RefreshIntervals:
    """Intervals in seconds between refreshes; a refresh uses at most a tenth of the time, so they may be longer.

    Parameters
    ----------
    file_s
        Patches in the HDF5 file.
    image_s
        Image in the HDF5 file.
    picture_s
        Picture.
    viewer_s
        Image for viewers.
    rebuild_s
        Delay before files that could not be written are rebuilt.
    """

    file_s: float = 0.5
    image_s: float = 1.0
    picture_s: float = 3.0
    viewer_s: float = 0.5
    rebuild_s: float = 30.0


@dataclass(slots=True)
class _Schedule:
    """Computation of a scan's next image, and the monotonic times of its next uses."""

    job: Future[StitchedImage] | None = None
    image_due_s: float = 0.0
    file_due_s: float = 0.0
    picture_due_s: float = 0.0


class ImageRefresh:
    """Computes images of scans that have changed, from copies of their canvases.

    Parameters
    ----------
    run
        Name of the run, published with the image.
    intervals
        Intervals between refreshes.
    publish
        Function that publishes an image to viewers; called on the image thread. Unknown pixels are 0.
    """

    def __init__(self, run: str, intervals: RefreshIntervals, publish: PublishImage | None) -> None:
        self._run = run
        self._intervals = intervals
        self._publish = publish
        self._thread = ThreadPoolExecutor(1, "image")
        self._schedules: dict[str, _Schedule] = {}

    def tick(self, scan: Scan) -> None:
        """Write an image that is complete; start the next one if it is due."""
        schedule = self._schedules.setdefault(scan.name, _Schedule())
        if schedule.job is not None and schedule.job.done():
            self._write_result(scan, schedule)
        now = time.monotonic()
        if schedule.job is None and scan.image_is_outdated and now >= schedule.image_due_s:
            interval_s = self._intervals.image_s if self._publish is None else self._intervals.viewer_s
            schedule.image_due_s = now + interval_s
            self._start(scan, schedule, with_picture=now >= schedule.picture_due_s)

    def finish(self, scan: Scan) -> None:
        """Bring the image in the file, the picture and the viewers up to date."""
        schedule = self._schedules.setdefault(scan.name, _Schedule())
        self._write_result(scan, schedule)
        self._start(scan, schedule, with_picture=True)
        if schedule.job is None:
            scan.write_image(None)
        schedule.file_due_s = 0.0
        self._write_result(scan, schedule)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _start(self, scan: Scan, schedule: _Schedule, *, with_picture: bool) -> None:
        canvas = scan.snapshot()
        if canvas is None:
            return
        if with_picture:
            schedule.picture_due_s = time.monotonic() + self._intervals.picture_s
        schedule.job = self._thread.submit(self._refresh, scan, canvas, schedule, with_picture=with_picture)

    def _write_result(self, scan: Scan, schedule: _Schedule) -> None:
        """Wait for the image, if one is being computed, and write it to the file if that is due."""
        if schedule.job is None:
            return
        image, schedule.job = schedule.job.result(), None
        started = time.monotonic()
        if started >= schedule.file_due_s:
            scan.write_image(image)
            done = time.monotonic()
            schedule.file_due_s = done + max(self._intervals.image_s, _MIN_PAUSE_RATIO * (done - started))

    def _refresh(self, scan: Scan, canvas: Canvas, schedule: _Schedule, *, with_picture: bool) -> StitchedImage:
        """Compute the image, publish it and write the picture; runs on the image thread."""
        started = time.monotonic()
        image = canvas.image()
        latest = scan.latest
        if self._publish is not None and latest is not None:
            attributes = self._attributes(scan, canvas, image)
            self._publish(np.nan_to_num(image.phase), latest.unique_id, latest.time_ns, attributes)
        if with_picture:
            _write_picture(scan, canvas, image)
        done = time.monotonic()
        pause_end_s = done + _MIN_PAUSE_RATIO * (done - started)
        if with_picture:
            schedule.picture_due_s = max(schedule.picture_due_s, pause_end_s)
        else:
            schedule.image_due_s = max(schedule.image_due_s, pause_end_s)
        return image

    def _attributes(self, scan: Scan, canvas: Canvas, image: StitchedImage) -> dict[str, str | int | float]:
        return {
            "scan": scan.name,
            "run": self._run,
            "patches": canvas.patches,
            "x_m": image.origin_m[0],
            "y_m": image.origin_m[1],
            "pixel_m": image.pixel_m,
        }


def _write_picture(scan: Scan, canvas: Canvas, image: StitchedImage) -> None:
    note = f"{canvas.patches} patch{'' if canvas.patches == 1 else 'es'}"
    try:
        write_png(scan.picture_path, image.phase, image.pixel_m, scan.name, note)
    except OSError as error:
        _log.error("cannot write %s: %s", scan.picture_path, error)
