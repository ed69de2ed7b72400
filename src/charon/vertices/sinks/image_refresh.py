"""When a scan's image is computed, shown and written: often enough to watch, never in the way."""

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
    from charon.vertices.sinks.scan_output import ScanOutput

    Publish = Callable[[NDArray[np.float32], int, int, Mapping[str, str | int | float]], None]
    """Shows an image: (phase in rad, unique id and time in ns of its latest frame, attributes)."""

    Account = Callable[[str], Mapping[str, int]]
    """Returns the account of a scan's frames."""

_log = logging.getLogger(__name__)

_LEAST_PAUSE = 10.0


@dataclass(frozen=True, slots=True)
class Periods:
    """How often what is shown is refreshed, in seconds; less often where it takes more than a tenth of that.

    Parameters
    ----------
    file_s
        Patches in the HDF5 file.
    image_s
        The image in the HDF5 file.
    picture_s
        The picture.
    viewer_s
        The viewer's image.
    broken_s
        How long to wait before files that could not be written are made again.
    """

    file_s: float = 0.5
    image_s: float = 1.0
    picture_s: float = 3.0
    viewer_s: float = 0.5
    broken_s: float = 30.0


@dataclass(slots=True)
class _Clock:
    """Work on a scan's next image, and when each use of it is due again."""

    job: Future[StitchedImage] | None = None
    next_s: float = 0.0
    file_s: float = 0.0
    picture_s: float = 0.0


class ImageRefresh:
    """Computes images of scans that have changed, on a thread of its own, from copies of their canvases.

    Parameters
    ----------
    run
        Name of the run, told to viewers.
    periods
        How often.
    publish
        Shows an image to viewers; called on this thread. 0 stands where nothing is known.
    """

    def __init__(self, run: str, periods: Periods, publish: Publish | None) -> None:
        self._run = run
        self._periods = periods
        self._publish = publish
        self._thread = ThreadPoolExecutor(1, "image")
        self._clocks: dict[str, _Clock] = {}

    def tick(self, output: ScanOutput, account: Account) -> None:
        """Take over an image that is done, begin the next where it is due."""
        clock = self._clocks.setdefault(output.scan, _Clock())
        if clock.job is not None and clock.job.done():
            self._take_over(output, clock, account)
        now = time.monotonic()
        if clock.job is None and output.changed and now >= clock.next_s:
            clock.next_s = now + (self._periods.image_s if self._publish is None else self._periods.viewer_s)
            self._begin(output, clock, picture=now >= clock.picture_s)

    def finish(self, output: ScanOutput, account: Account) -> None:
        """Bring a scan's image, file and picture up to date."""
        clock = self._clocks.setdefault(output.scan, _Clock())
        if clock.job is not None:
            self._take_over(output, clock, account)
        self._begin(output, clock, picture=True)
        if clock.job is None:
            output.write_image(None, account(output.scan))
        clock.file_s = 0.0
        self._take_over(output, clock, account)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _begin(self, output: ScanOutput, clock: _Clock, *, picture: bool) -> None:
        canvas = output.snapshot()
        if canvas is None:
            return
        if picture:
            clock.picture_s = time.monotonic() + self._periods.picture_s
        clock.job = self._thread.submit(self._show, output, canvas, clock, picture=picture)

    def _take_over(self, output: ScanOutput, clock: _Clock, account: Account) -> None:
        if clock.job is None:
            return
        image, clock.job = clock.job.result(), None
        started = time.monotonic()
        if started >= clock.file_s:
            output.write_image(image, account(output.scan))
            done = time.monotonic()
            clock.file_s = done + max(self._periods.image_s, _LEAST_PAUSE * (done - started))

    def _show(self, output: ScanOutput, canvas: Canvas, clock: _Clock, *, picture: bool) -> StitchedImage:
        """Compute the image, show it and draw it."""
        started = time.monotonic()
        image = canvas.image()
        if self._publish is not None:
            self._tell_viewers(self._publish, output, canvas, image)
        if picture:
            count = f"{canvas.patches} patch{'' if canvas.patches == 1 else 'es'}"
            try:
                write_png(output.picture_path, image.phase, image.pixel_m, output.scan, count)
            except OSError as error:
                _log.error("the picture %s cannot be written: %s", output.picture_path, error)
        done = time.monotonic()
        clock.next_s = max(clock.next_s, done + _LEAST_PAUSE * (done - started) * (not picture))
        if picture:
            clock.picture_s = max(clock.picture_s, done + _LEAST_PAUSE * (done - started))
        return image

    def _tell_viewers(self, publish: Publish, output: ScanOutput, canvas: Canvas, image: StitchedImage) -> None:
        latest = output.latest
        if latest is None:
            return
        attributes = {
            "scan": output.scan,
            "run": self._run,
            "patches": canvas.patches,
            "x_m": image.origin_m[0],
            "y_m": image.origin_m[1],
            "pixel_m": image.pixel_m,
        }
        publish(np.nan_to_num(image.phase), latest.unique_id, latest.time_ns, attributes)
