"""Stitches the baseline's patches with the image sink's canvas, weights and files, but without a patch log."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from charon import __version__
from charon.frames import FrameId, Patch
from charon.ledger.epochs import EpochTracker
from charon.ledger.frame_log import RECEIVED, REPEATED, STITCHED, UNSTITCHED, FrameLog
from charon.vertices.seen_ids import SeenIds
from charon.vertices.sinks.image_refresh import ImageRefresh, RefreshIntervals
from charon.vertices.sinks.scan import Scan
from charon.vertices.sinks.scan_files import ScanSettings
from charon.vertices.sinks.sink_account import SinkAccount, StitchRecorder
from charon.vertices.source.prepare import scan_name

if TYPE_CHECKING:
    from pathlib import Path

    from charon.adapters.inference.bundle import Bundle
    from charon.frames import Frame

_log = logging.getLogger(__name__)

_RUN = "baseline"
_TICK_INTERVAL_S = 0.1


@dataclass(slots=True)
class _Recorder(StitchRecorder):
    """Records each patch in the image of this process."""

    log: FrameLog
    stitched: int = 0

    def add(self, frame: FrameId, stitched_ns: int) -> None:
        """Record a patch."""
        self.stitched += 1
        self.log.append(frame, STITCHED, stitched_ns)


class PatchStitcher:
    """Stitches patches by scan, and writes image, patches and picture of each scan at intervals and at the end.

    Late positions are not supported: a patch that carries none is counted and not stored. The image starts at the first
    patch, and a killed process loses it: there is no patch log from which it could be rebuilt.

    Parameters
    ----------
    folder
        Folder for ``<scan>.h5`` and ``<scan>.png``.
    bundle
        Bundle of the network, for pixel size and weight.
    channel
        Channel of the detector, for the names of the frames.
    frame_log
        Log of received, repeated, stitched and unstitched patches.
    intervals
        Intervals between refreshes of files, images and pictures.
    """

    def __init__(
        self,
        folder: Path,
        bundle: Bundle,
        channel: str,
        frame_log: FrameLog,
        intervals: RefreshIntervals | None = None,
    ) -> None:
        card = bundle.card
        self.scans: dict[str, Scan] = {}
        self._pixel_m = card.patch.pixel_m
        self._model = f"{card.name}@{card.version}"
        self._channel = channel
        self._frame_log = frame_log
        self._intervals = intervals or RefreshIntervals()
        provenance = {"version": __version__, "run": _RUN}
        self._settings = ScanSettings(folder, _RUN, provenance, card.patch.weight_radius_m, card.patch.weight_profile)
        self._recorder = _Recorder(frame_log)
        self._account = SinkAccount(self._recorder)
        self._refresh = ImageRefresh(_RUN, self._intervals, None)
        self._epochs = EpochTracker()
        self._seen = SeenIds()
        self._warned = False
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        self._ticker = threading.Thread(target=self._tick_periodically, name="files", daemon=True)
        self._ticker.start()

    def add(self, result: Frame, received_ns: int) -> None:
        """Stitch and store a result.

        Parameters
        ----------
        result
            The phase in rad, (row, column) float32, with the id, the attributes and the position of its frame.
        received_ns
            Time of receipt in ns since 1970.
        """
        with self._lock:
            frame_id, _ = self._epochs.assign(replace(result.id, channel=self._channel))
            if not self._seen.add(frame_id):
                self._frame_log.append(frame_id, REPEATED, received_ns)
                return
            self._frame_log.append(frame_id, RECEIVED, received_ns)
            if not self._stitch(result, frame_id):
                self._frame_log.append(frame_id, UNSTITCHED, received_ns)

    def close(self) -> None:
        """Write the last images and close the files."""
        self._is_closing.set()
        self._ticker.join()
        for scan in self.scans.values():
            scan.files.write(0.0)
            self._refresh.finish(scan)
            scan.files.close()
        self._refresh.close()
        _log.info("stitched %d patches of %d scans", self._recorder.stitched, len(self.scans))

    def _stitch(self, result: Frame, frame_id: FrameId) -> bool:
        """Return whether the patch is in the image."""
        if result.position_m is None:
            self._warn_of_position(frame_id)
            return False
        name = result.scan or scan_name(frame_id)
        scan = self.scans.get(name)
        if scan is None:
            scan = self.scans[name] = Scan(name, self._settings, self._account)
        patch = Patch(
            id=frame_id,
            run=_RUN,
            phase=np.asarray(result.image, np.float32),
            pixel_m=self._pixel_m,
            model=self._model,
            scan=name,
            position_m=result.position_m,
            attributes=result.attributes,
        )
        before = scan.stitched
        scan.add_patch(patch, result.position_m, None)
        return scan.stitched > before

    def _warn_of_position(self, frame_id: FrameId) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "frame %s carries no scan position, so its patch is not stitched; the baseline requires the image"
                " attributes x_position and y_position, and does not support late positions",
                frame_id.name,
            )

    def _tick_periodically(self) -> None:
        while not self._is_closing.wait(_TICK_INTERVAL_S):
            with self._lock:
                for scan in self.scans.values():
                    scan.files.write(self._intervals.file_s)
                    self._refresh.tick(scan)
