"""The image sink: each scan's stitched image, file and picture, all of them made from one log."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import charon
from charon.adapters.storage.patch_log import PatchLog
from charon.frames import LatePosition, Patch, Rejection, WireError
from charon.ledger.sink_report import SinkReport
from charon.vertices.sinks.image_refresh import ImageRefresh, Periods
from charon.vertices.sinks.image_state import ImageState
from charon.vertices.sinks.scan_output import Outputs, file_stem
from charon.vertices.sinks.sink import Accepted, opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from charon.adapters.storage.patch_log import Fsync
    from charon.vertices.sinks.image_refresh import Publish
    from charon.vertices.sinks.image_state import Sunk
    from charon.vertices.sinks.scan_output import Anchor

_log = logging.getLogger(__name__)
_ROOM_BYTES = 32 << 20


class ImageSink:
    """Keeps messages in a log and makes everything else from it.

    A message is accepted when the log has it. The canvas, the HDF5 files, the set of names that
    recognises repeats, the account and the latencies are made again from the log at the start, so a
    sink that is killed goes on as if it had not been; only the count of repeats begins again.

    All methods but `report` belong to one thread.

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
    weight_radius_m, weight_profile
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
        weight_profile: tuple[float, ...] | None = None,
        periods: Periods | None = None,
    ) -> None:
        periods = periods or Periods()
        self._periods = periods if viewer_period_s is None else replace(periods, viewer_s=viewer_period_s)
        about = {"version": charon.__version__, "run": run, **(provenance or {})}
        self._outputs = Outputs(output_dir, run, about, weight_radius_m, weight_profile)
        self._log = PatchLog(output_dir / "log" / file_stem(run), fsync=fsync)
        self._refresh = ImageRefresh(run, self._periods, publish)
        self._lock = threading.Lock()
        self._anchors: dict[str, Anchor] = {}
        self._state = ImageState(self._log, self._outputs, self._anchors)
        self._duplicates: Counter[tuple[str, int]] = Counter()
        self._unreadable = 0
        self._retry_s: float | None = None
        self._rebuild()

    def accept(self, messages: Sequence[bytes]) -> Accepted:
        """Keep what is new and put it into the image; see `Sink`."""
        fresh: dict[str, tuple[Sunk, bytes]] = {}
        repeats: list[Sunk] = []
        unreadable = 0
        for payload in messages:
            try:
                message = opened(payload)
            except WireError as error:
                _log.error("set aside a message that cannot be read: %s", error)
                unreadable += 1
                continue
            name = message.name if isinstance(message, LatePosition) else message.id.name
            if name in fresh or self._state.has(message):
                repeats.append(message)
            else:
                fresh[name] = message, payload
        locations = self._log.append_many([payload for _, payload in fresh.values()])
        for (message, _), location in zip(fresh.values(), locations, strict=True):
            with self._lock:  # for each by itself: whoever asks for the account waits for one patch at most
                self._state.take(message, location)
        self._count(repeats, unreadable)
        if self._state.moved():
            self._rebuild()
        kinds = [type(message) for message, _ in fresh.values()]
        return Accepted(kinds.count(Patch), kinds.count(Rejection), kinds.count(LatePosition), len(repeats), unreadable)

    def tick(self) -> None:
        """Write what is due to the files, begin the images that are due."""
        for output in self._state.scans.values():
            output.write(self._periods.file_s)
            self._refresh.tick(output, self._state.book.totals)
        self._mend()

    def close(self) -> None:
        """Write the last images and the account, close the files."""
        if self._broken() and self._has_room():
            self._rebuild()
        for output in self._state.scans.values():
            output.write(0.0)
            self._refresh.finish(output, self._state.book.totals)
            output.close()
        self._refresh.close()
        self._log.close()

    def report(self) -> SinkReport:
        """Return the frames, the latencies and the output of each scan; may be called from any thread."""
        with self._lock:
            return SinkReport(
                entries=self._state.book.entries(), unreadable=self._unreadable, image=self._state.report()
            )

    def _count(self, repeats: Sequence[Sunk], unreadable: int) -> None:
        with self._lock:
            self._unreadable += unreadable
            for message in repeats:
                if not isinstance(message, LatePosition):
                    epoch = message.id.channel, message.id.epoch_ns
                    self._duplicates[epoch] += 1
                    self._state.book.count(*epoch, "duplicates")

    def _rebuild(self) -> None:
        """Make everything from the log; again where its patches turn out to lie elsewhere than the first."""
        state = self._state
        while True:
            for scan, anchor in state.moved().items():
                _log.warning("scan %s: most patches lie around %s m: the image moves there", scan, anchor.position_m)
                self._anchors[scan] = anchor
            state.abandon()
            state = ImageState(self._log, self._outputs, self._anchors)
            self._replay(state)
            if not state.moved():
                break
        for epoch, count in self._duplicates.items():
            state.book.count(*epoch, "duplicates", count)
        with self._lock:
            self._state = state

    def _replay(self, state: ImageState) -> None:
        for record in self._log.replay():
            try:
                state.take(opened(record.payload), record.location, record.logged_ns)
            except WireError as error:
                _log.error("the log has a message that cannot be read: %s", error)
            if state.moved():
                return
            for output in state.scans.values():
                output.write(self._periods.file_s)

    def _mend(self) -> None:
        """Make files again that could not be written, after a while and where there is room for them."""
        if not self._broken():
            return
        now = time.monotonic()
        if self._retry_s is None:
            self._retry_s = now + self._periods.broken_s
        elif now >= self._retry_s:
            self._retry_s = None
            if self._has_room():
                self._rebuild()

    def _broken(self) -> bool:
        return any(output.broken for output in self._state.scans.values())

    def _has_room(self) -> bool:
        disk = os.statvfs(self._outputs.folder)
        return disk.f_bavail * disk.f_frsize > self._log.size_bytes() + _ROOM_BYTES
