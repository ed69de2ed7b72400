"""One scan: its canvas, its files and its part of the account of frames."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, NamedTuple

from charon.ledger.sink_report import ScanReport
from charon.ledger.states import FrameState, rejected_state
from charon.science.stitch import Canvas, StitchError
from charon.vertices.sinks.scan_files import ScanFiles, file_stem

if TYPE_CHECKING:
    from pathlib import Path

    from charon.frames import FrameId, Patch, Position, Rejection
    from charon.science.stitch import StitchedImage
    from charon.vertices.sinks.scan_files import RowId, ScanSettings
    from charon.vertices.sinks.sink_account import SinkAccount

_log = logging.getLogger(__name__)

_MAX_WARNINGS = 3
_MAJORITY = 2


class ImageAnchor(NamedTuple):
    """A position that the image must include, and the number of patches that determined it."""

    position_m: Position
    patches: int


class Scan:
    """Stitches and stores the patches of one scan.

    Parameters
    ----------
    name
        Name of the scan.
    settings
        Settings of the sink.
    account
        Account of all scans of the sink.
    anchor
        Position that the image must include; None to start the image at the first patch.
    """

    def __init__(
        self, name: str, settings: ScanSettings, account: SinkAccount, anchor: ImageAnchor | None = None
    ) -> None:
        self.name = name
        self.files = ScanFiles(name, settings)
        self.image_is_outdated = False
        self.latest: FrameId | None = None
        self.new_anchor: ImageAnchor | None = None
        self._settings = settings
        self._account = account
        self._anchor = anchor
        self._canvas: Canvas | None = None
        self._waiting = 0
        self._unstitched = 0

    @property
    def stitched(self) -> int:
        """Number of patches in the image."""
        return 0 if self._canvas is None else self._canvas.patches

    @property
    def picture_path(self) -> Path:
        """Path of the picture."""
        return self._settings.folder / f"{file_stem(self.name)}.png"

    def add_patch(self, patch: Patch, position_m: Position | None, logged_ns: int | None) -> RowId:
        """Stitch and store a new patch.

        Parameters
        ----------
        patch
            The patch.
        position_m
            Its scan position; None if it is not known yet.
        logged_ns
            Time at which an earlier process logged the patch; None if the patch is new.
        """
        if position_m is None:
            self._waiting += 1
        stitched_ns = 0 if position_m is None else self._stitch(patch, position_m, logged_ns)
        row_id = self.files.add_patch(patch, position_m, stitched_ns)
        self._account.add(patch.id, self.name, FrameState.RECONSTRUCTED)
        return row_id

    def add_position(self, patch: Patch, row_id: RowId, position_m: Position, logged_ns: int | None) -> None:
        """Stitch a patch that was added without a position, and store the position."""
        self._waiting -= 1
        self.files.set_position(row_id, position_m, self._stitch(patch, position_m, logged_ns))

    def add_rejection(self, rejection: Rejection) -> None:
        """Store a rejected frame."""
        self.files.add_rejection(rejection)
        self._account.add(rejection.id, self.name, rejected_state(rejection.reason))

    def snapshot(self) -> Canvas | None:
        """Return a copy of the canvas for another thread; None if nothing has been stitched."""
        self.image_is_outdated = False
        return None if self._canvas is None else self._canvas.snapshot()

    def write_image(self, image: StitchedImage | None) -> None:
        """Write the image, if there is one, and the account of the scan to the file."""
        self.files.write_image(image, self._account.totals(self.name))

    def report(self) -> ScanReport:
        """Return the output of the scan."""
        return ScanReport(
            stitched=self.stitched,
            waiting=self._waiting,
            unstitched=self._unstitched,
            files=self.files.paths,
            picture=str(self.picture_path),
        )

    def _stitch(self, patch: Patch, position_m: Position, logged_ns: int | None) -> int:
        """Add a patch to the canvas; return the time at which it was stitched, 0 if it cannot be stitched."""
        if self._canvas is None:
            self._canvas = self._new_canvas(patch.pixel_m)
        try:
            self._canvas.add(patch.phase, position_m, patch.amplitude, pixel_m=patch.pixel_m, name=patch.id.name)
        except StitchError as error:
            self._unstitched += 1
            if self._unstitched <= _MAX_WARNINGS:
                _log.warning("scan %s: stored a patch without stitching it: %s", self.name, error)
            self._check_anchor(position_m)
            return 0
        self.image_is_outdated = True
        self.latest = patch.id
        stitched_ns = time.time_ns() if logged_ns is None else logged_ns
        self._account.add_stitched(patch, stitched_ns)
        return stitched_ns

    def _new_canvas(self, pixel_m: float) -> Canvas:
        return Canvas(
            pixel_m,
            self._settings.weight_radius_m,
            anchor_m=None if self._anchor is None else self._anchor.position_m,
            weight_profile=self._settings.weight_profile,
        )

    def _check_anchor(self, position_m: Position) -> None:
        """Request a new anchor if most patches are far from the image, for example after a wrong first position."""
        settled = max(self.stitched, 0 if self._anchor is None else self._anchor.patches)
        if self._unstitched > _MAJORITY * settled and all(map(math.isfinite, position_m)):
            self.new_anchor = ImageAnchor(position_m, self._unstitched)
