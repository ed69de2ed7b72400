"""The image sink: each scan's stitched image, file and picture, all of them made from one log."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

import charon
from charon.adapters.storage.patchlog import Location, PatchLog
from charon.adapters.storage.picture import write_png
from charon.frames import LatePosition, Patch, Rejection, WireError
from charon.science.latency import LatencyRecorder
from charon.vertices.ledger import LedgerBook
from charon.vertices.names import NameSet, TimeSet
from charon.vertices.scan_output import Outputs, Place, ScanOutput, file_stem
from charon.vertices.sink import Accepted, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from charon.adapters.storage.patchlog import Fsync
    from charon.frames import FrameId, Position
    from charon.science.stitch import Canvas, StitchedImage

    Publish = Callable[[NDArray[np.float32], int, int, Mapping[str, str | int | float]], None]
    """Shows an image: (phase in rad, unique id and time in ns of its latest frame, attributes)."""

_log = logging.getLogger(__name__)

_SHARE = 10.0


@dataclass(frozen=True, slots=True)
class Periods:
    """How often what is shown is refreshed, in seconds; all of it less often where it costs much.

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
class _Waiting:
    """A patch that waits for its position: where it is in the log and in the file."""

    scan: str
    location: Location
    place: Place


@dataclass(slots=True)
class _Rebuilt:
    """Everything that follows from the log."""

    names: NameSet = field(default_factory=NameSet)
    times: TimeSet = field(default_factory=TimeSet)
    book: LedgerBook = field(default_factory=LedgerBook)
    scans: dict[str, ScanOutput] = field(default_factory=dict[str, ScanOutput])
    waiting: dict[tuple[str, int], list[_Waiting]] = field(default_factory=dict[tuple[str, int], list[_Waiting]])
    positions: dict[tuple[str, int], Position] = field(default_factory=dict[tuple[str, int], "Position"])
    since_detector: LatencyRecorder = field(default_factory=LatencyRecorder)
    since_received: LatencyRecorder = field(default_factory=LatencyRecorder)


@dataclass(slots=True)
class _Refresh:
    """When a scan was last shown, and the work on its next image."""

    job: Future[StitchedImage] | None = None
    due_s: float = 0.0
    image_s: float = 0.0
    picture_s: float = 0.0


class ImageSink:
    """Keeps messages in a log and makes everything else from it.

    A message is accepted when the log has it. The canvas, the HDF5 files, the set of names that
    recognises repeats, the ledger and the latencies are made again from the log at the start, so a
    sink that is killed goes on as if it had not been. Images are computed on a thread of their own.

    Parameters
    ----------
    output_dir
        Where ``<scan>.h5``, ``<scan>.png`` and the folder ``log`` go.
    run
        Name of the run; each has a log of its own.
    provenance
        Text for the files: the manifest, say.
    publish
        Shows an image to viewers; called on the thread of the images.
    viewer_period_s
        Least time between two such calls.
    fsync
        Whether an accepted message survives the loss of power: see `PatchLog`.
    weight_radius_m
        Radius in m of what the patches are weighted with: see `Canvas`.
    periods
        How often the files are refreshed.

    Raises
    ------
    UnavailableError
        If another process writes this run's log, or the folder cannot be written.
    """

    def __init__(
        self,
        output_dir: Path,
        *,
        run: str,
        provenance: Mapping[str, str] | None = None,
        publish: Publish | None = None,
        viewer_period_s: float | None = None,
        fsync: Fsync = "batch",
        weight_radius_m: float | None = None,
        periods: Periods | None = None,
    ) -> None:
        self._periods = periods or Periods()
        self._viewer_s = self._periods.viewer_s if viewer_period_s is None else viewer_period_s
        self._publish = publish
        about = {"version": charon.__version__, "run": run, **(provenance or {})}
        self._outputs = Outputs(output_dir, run, about, weight_radius_m)
        self._lock = threading.Lock()
        self._anchors: dict[str, Position] = {}
        self._refreshes: dict[str, _Refresh] = {}
        self._rebuilt = _Rebuilt()
        self._duplicates: list[FrameId] = []
        self._unreadable = 0
        self._retry_s = 0.0
        self._log = PatchLog(output_dir / "log" / file_stem(run), fsync=fsync)
        self._thread = ThreadPoolExecutor(1, "image")
        self._rebuild()

    def accept(self, messages: Sequence[bytes]) -> Accepted:
        """Keep what is new, put it into the image; see `Sink`."""
        fresh: list[Patch | Rejection | LatePosition] = []
        payloads: list[bytes] = []
        repeats: list[FrameId] = []
        names: set[str] = set()
        unreadable = 0
        for payload in messages:
            try:
                message = opened(payload)
            except WireError as error:
                _log.error("set aside a message that cannot be read: %s", error)
                unreadable += 1
                continue
            name = message.name if isinstance(message, LatePosition) else message.id.name
            if name in names or self._has(message):
                repeats += [] if isinstance(message, LatePosition) else [message.id]
                continue
            names.add(name)
            fresh.append(message)
            payloads.append(payload)
        locations = self._log.append_many(payloads)
        with self._lock:
            for message, location in zip(fresh, locations, strict=True):
                self._take(message, location, None)
            for frame in repeats:
                self._rebuilt.book.count(frame.channel, frame.epoch_ns, "duplicates")
            self._unreadable += unreadable
        self._duplicates += repeats
        self._follow_majority()
        kinds = [type(message) for message in fresh]
        return Accepted(
            reconstructed=kinds.count(Patch),
            rejected=kinds.count(Rejection),
            positions=kinds.count(LatePosition),
            duplicates=len(messages) - len(fresh) - unreadable,
            unreadable=unreadable,
        )

    def tick(self) -> None:
        """Write what is due to the files, and begin the images that are due."""
        now = time.monotonic()
        broken = False
        for scan, output in self._rebuilt.scans.items():
            output.write(self._periods.file_s)
            self._refresh(scan, output, now)
            broken = broken or output.broken
        if broken and not self._retry_s:
            self._retry_s = now + self._periods.broken_s
        if broken and now >= self._retry_s:
            self._retry_s = 0.0
            self._rebuild()

    def close(self) -> None:
        """Write the last images and the account, close the files."""
        for scan, output in self._rebuilt.scans.items():
            refresh = self._refreshes.setdefault(scan, _Refresh())
            output.write(0.0)
            self._finish(scan, output, refresh, wait=True)
            canvas = output.snapshot()
            if canvas is not None:
                refresh.job = self._thread.submit(self._show, scan, output, canvas, picture=True)
                refresh.image_s = 0.0
                self._finish(scan, output, refresh, wait=True)
            output.close()
        self._thread.shutdown()
        self._log.close()

    def ledger(self) -> dict[str, Any]:
        """Return the account of frames, the latencies in ms and what became of each scan; from any thread."""
        with self._lock:
            state = self._rebuilt
            return {
                **state.book.to_json(),
                "latency_ms": state.since_detector.to_json(),
                "latency_since_received_ms": state.since_received.to_json(),
                "scans": {scan: _summary(output) for scan, output in state.scans.items()},
                "positions_waiting": len(state.positions),
                "unreadable": self._unreadable,
            }

    def _has(self, message: Patch | Rejection | LatePosition) -> bool:
        if isinstance(message, LatePosition):
            return self._rebuilt.times.has(message.channel, message.time_ns)
        return message.id in self._rebuilt.names

    def _rebuild(self) -> None:
        """Make everything from the log; again where its patches turn out to lie elsewhere than the first."""
        for output in self._rebuilt.scans.values():
            output.abandon()
        while True:
            with self._lock:
                self._rebuilt = _Rebuilt()
                for record in self._log.replay():
                    try:
                        self._take(opened(record.payload), record.location, record.logged_ns)
                    except WireError as error:
                        _log.error("the log has a message that cannot be read: %s", error)
                    if self._moved():
                        break
                    for output in self._rebuilt.scans.values():
                        output.write(self._periods.file_s)
                for frame in self._duplicates:
                    self._rebuilt.book.count(frame.channel, frame.epoch_ns, "duplicates")
            if not self._moved():
                return
            self._note_anchors()

    def _moved(self) -> bool:
        return any(output.better_anchor_m is not None for output in self._rebuilt.scans.values())

    def _note_anchors(self) -> None:
        for scan, output in self._rebuilt.scans.items():
            if output.better_anchor_m is not None:
                _log.warning(
                    "scan %s: most patches lie around %s m: the image moves there", scan, output.better_anchor_m
                )
                self._anchors[scan] = output.better_anchor_m
            output.abandon()

    def _follow_majority(self) -> None:
        if self._moved():
            self._note_anchors()
            self._rebuild()

    def _take(self, message: Patch | Rejection | LatePosition, location: Location, logged_ns: int | None) -> None:
        """Apply a message that the log has; `logged_ns` where it was stitched before this process began."""
        if isinstance(message, LatePosition):
            self._take_position(message, logged_ns)
            return
        state, frame = self._rebuilt, message.id
        state.names.add(frame)
        output = self._output(message.scan)
        if isinstance(message, Rejection):
            output.reject(message)
            state.book.add(frame.channel, frame.epoch_ns, message.scan, f"rejected:{message.reason}", frame.unique_id)
            return
        state.book.add(frame.channel, frame.epoch_ns, message.scan, "reconstructed", frame.unique_id)
        key = (frame.channel, frame.time_ns)
        position_m = message.position_m or state.positions.pop(key, None)
        stitched_ns = self._place(output, message, position_m, logged_ns) if position_m is not None else 0
        place = output.keep(message, position_m, stitched_ns)
        if position_m is None:
            output.waiting += 1
            state.waiting.setdefault(key, []).append(_Waiting(message.scan, location, place))

    def _take_position(self, message: LatePosition, logged_ns: int | None) -> None:
        state, key = self._rebuilt, (message.channel, message.time_ns)
        state.times.add(*key)
        waiting = state.waiting.pop(key, None)
        if waiting is None:
            state.positions[key] = message.position_m
            return
        for one in waiting:
            output = state.scans[one.scan]
            output.waiting -= 1
            patch = opened(self._log.read(one.location).payload)
            if isinstance(patch, Patch):
                self._place(output, patch, message.position_m, logged_ns)
                output.set_position(one.place, message.position_m)

    def _place(self, output: ScanOutput, patch: Patch, position_m: Position, logged_ns: int | None) -> int:
        """Put a patch on the canvas; return when that was, 0 if it could not be."""
        if not output.place(patch, position_m):
            return 0
        stitched_ns = time.time_ns() if logged_ns is None else logged_ns
        if patch.id.time_ns:
            self._rebuilt.since_detector.add(stitched_ns - patch.id.time_ns)
        if received_ns := patch.times_ns.get("received"):
            self._rebuilt.since_received.add(stitched_ns - received_ns)
        return stitched_ns

    def _output(self, scan: str) -> ScanOutput:
        output = self._rebuilt.scans.get(scan)
        if output is None:
            output = self._rebuilt.scans[scan] = ScanOutput(scan, self._outputs, self._anchors.get(scan))
        return output

    def _refresh(self, scan: str, output: ScanOutput, now: float) -> None:
        refresh = self._refreshes.setdefault(scan, _Refresh())
        self._finish(scan, output, refresh, wait=False)
        if refresh.job is not None or not output.changed or now < refresh.due_s:
            return
        canvas = output.snapshot()
        if canvas is None:
            return
        picture = now >= refresh.picture_s
        if picture:
            refresh.picture_s = now + self._periods.picture_s
        refresh.due_s = now + (self._periods.image_s if self._publish is None else self._viewer_s)
        refresh.job = self._thread.submit(self._show, scan, output, canvas, picture=picture)

    def _finish(self, scan: str, output: ScanOutput, refresh: _Refresh, *, wait: bool) -> None:
        """Take over an image that is done."""
        if refresh.job is None or not (wait or refresh.job.done()):
            return
        image, refresh.job = refresh.job.result(), None
        now = time.monotonic()
        if now >= refresh.image_s:
            output.write_image(image, self._rebuilt.book.totals(scan))
            # Large images are written less often: a tenth of the time at most.
            refresh.image_s = now + max(self._periods.image_s, _SHARE * (time.monotonic() - now))

    def _show(self, scan: str, output: ScanOutput, canvas: Canvas, *, picture: bool) -> StitchedImage:
        """Compute the image, show it and draw it, on the thread of the images."""
        image = canvas.image()
        latest = output.last_patch
        if self._publish is not None and latest is not None:
            attributes = {
                "scan": scan,
                "run": self._outputs.run,
                "patches": canvas.patches,
                "x_m": image.origin_m[0],
                "y_m": image.origin_m[1],
                "pixel_m": image.pixel_m,
            }
            self._publish(np.nan_to_num(image.phase), latest.id.unique_id, latest.id.time_ns, attributes)
        if picture:
            try:
                count = f"{canvas.patches} patch{'es' if canvas.patches != 1 else ''}"
                write_png(output.picture_path, image.phase, image.pixel_m, scan, count)
            except OSError as error:
                _log.error("the picture %s cannot be written: %s", output.picture_path, error)
        return image


def _summary(output: ScanOutput) -> dict[str, Any]:
    return {
        "placed": output.placed,
        "waiting": output.waiting,
        "too_far": output.too_far,
        "files": [str(path) for path in output.file_paths],
        "picture": str(output.picture_path),
    }
