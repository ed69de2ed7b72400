"""What comes of one scan: its canvas, its files and its picture."""

from __future__ import annotations

import logging
import math
import re
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from charon.adapters.storage.nexus import Row, ScanFile, ScanHeader
from charon.errors import UnavailableError
from charon.ledger.sink_report import ScanReport
from charon.science.stitch import Canvas, StitchError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from charon.frames import FrameId, Patch, Position, Rejection
    from charon.science.stitch import StitchedImage

_log = logging.getLogger(__name__)

_MOST_PENDING = 128
_MOST_REJECTIONS = 10_000
_FAR_MAJORITY = 2


class Format(NamedTuple):
    """What patches must share to be in one dataset."""

    shape: tuple[int, ...]
    dtype: str
    amplitude: bool


class Anchor(NamedTuple):
    """Where a scan's image is, and how many patches said so when that was found."""

    position_m: Position
    patches: int


class Place(NamedTuple):
    """Where a patch is in the scan's files."""

    format: Format
    row: int


@dataclass(slots=True)
class _Table:
    file: ScanFile
    pending: list[Row] = field(default_factory=list[Row])


@dataclass(slots=True)
class Outputs:
    """What the outputs of all scans share.

    Parameters
    ----------
    folder
        Where the files go.
    run
        Name of the run.
    provenance
        What made the files, as text.
    weight_radius_m, weight_profile
        Passed on to the canvas.
    """

    folder: Path
    run: str
    provenance: Mapping[str, str]
    weight_radius_m: float | None = None
    weight_profile: tuple[float, ...] | None = None


class ScanOutput:
    """One scan's canvas and HDF5 files, the latter written in batches.

    Nothing here is lost with the process: all of it follows from the log. Where the disk is full the
    files are given up (`broken`), to be made again from the log; the canvas goes on.

    Parameters
    ----------
    scan
        Its name.
    outputs
        What all scans share.
    anchor
        Where the image is, if patches were found to disagree about it.
    """

    def __init__(self, scan: str, outputs: Outputs, anchor: Anchor | None = None) -> None:
        self.scan = scan
        self.stem = file_stem(scan)
        self.waiting = 0
        self.unplaced = 0
        self.broken = False
        self.changed = False
        self.latest: FrameId | None = None
        self.better_anchor: Anchor | None = None
        self._outputs = outputs
        self._anchor = anchor
        self._canvas: Canvas | None = None
        self._tables: dict[Format, _Table] = {}
        self._rejections: list[Rejection] = []
        self._written_s = time.monotonic()

    @property
    def placed(self) -> int:
        """How many patches are in the image."""
        return 0 if self._canvas is None else self._canvas.patches

    @property
    def picture_path(self) -> Path:
        """Where the picture goes."""
        return self._outputs.folder / f"{self.stem}.png"

    def place(self, patch: Patch, position_m: Position) -> bool:
        """Put a patch on the canvas; return whether it could be placed."""
        if self._canvas is None:
            radius_m, profile = self._outputs.weight_radius_m, self._outputs.weight_profile
            anchor_m = None if self._anchor is None else self._anchor.position_m
            self._canvas = Canvas(patch.pixel_m, radius_m, anchor_m=anchor_m, weight_profile=profile)
        try:
            self._canvas.add(patch.phase, position_m, patch.amplitude, pixel_m=patch.pixel_m, name=patch.id.name)
        except StitchError as error:
            self.unplaced += 1
            if self.unplaced <= 3:
                _log.warning("scan %s: kept, but not in the image: %s", self.scan, error)
            self._doubt(position_m)
            return False
        self.changed = True
        self.latest = patch.id
        return True

    def _doubt(self, position_m: Position) -> None:
        """Move the image where most patches are: a first one from elsewhere must not keep all others out."""
        settled = max(self.placed, 0 if self._anchor is None else self._anchor.patches)
        if self.unplaced > _FAR_MAJORITY * settled and all(map(math.isfinite, position_m)):
            self.better_anchor = Anchor(position_m, self.unplaced)

    def keep(self, patch: Patch, position_m: Position | None, stitched_ns: int) -> Place:
        """Take a patch for the file; return its place there."""
        form = Format(patch.phase.shape, patch.phase.dtype.str, patch.amplitude is not None)
        table = None if self.broken else self._table(form, patch)
        if table is None:
            return Place(form, -1)
        table.pending.append(Row(patch, position_m, stitched_ns))
        return Place(form, table.file.rows + len(table.pending) - 1)

    def reject(self, rejection: Rejection) -> None:
        """Take a rejected frame for the file; without a patch there is no file, and the log has it anyway."""
        if len(self._rejections) < _MOST_REJECTIONS:
            self._rejections.append(rejection)

    def set_position(self, place: Place, position_m: Position, stitched_ns: int) -> None:
        """Note a position that came after its patch, and when the patch was stitched."""
        table = self._tables.get(place.format)
        if table is None or self.broken or place.row < 0:
            return
        if place.row >= table.file.rows:
            k = place.row - table.file.rows
            table.pending[k] = Row(table.pending[k].patch, position_m, stitched_ns)
            return
        with self._giving_up():
            table.file.set_position(place.row, position_m, stitched_ns)

    def write(self, period_s: float) -> None:
        """Write what is pending, if that is much or the last time is long ago."""
        now = time.monotonic()
        most = max((len(table.pending) for table in self._tables.values()), default=0)
        if self.broken or not self._tables or (most < _MOST_PENDING and now - self._written_s < period_s):
            return
        self._written_s = now
        with self._giving_up():
            for table in self._tables.values():
                if not table.file.has_space(len(table.pending)):
                    raise UnavailableError(f"no space on the disk for {table.file.path}; it is rebuilt later")
                table.file.append(table.pending)
                table.pending.clear()
            first = next(iter(self._tables.values()))
            first.file.append_rejections(self._rejections)
            self._rejections.clear()
            for table in self._tables.values():
                table.file.flush()

    def write_image(self, image: StitchedImage | None, account: Mapping[str, int]) -> None:
        """Put the account of frames, and the image where there is one, into the file."""
        if self.broken or not self._tables:
            return
        with self._giving_up():
            file = next(iter(self._tables.values())).file
            if not file.has_space(0):
                return
            if image is not None:
                file.set_image(image)
            file.set_account(account)
            file.flush()

    def snapshot(self) -> Canvas | None:
        """Return a copy of the canvas for another thread, None where there is none."""
        self.changed = False
        return None if self._canvas is None else self._canvas.snapshot()

    def report(self) -> ScanReport:
        """Return the output of the scan."""
        return ScanReport(
            stitched=self.placed,
            waiting=self.waiting,
            unstitched=self.unplaced,
            files=tuple(str(table.file.path) for table in self._tables.values()),
            picture=str(self.picture_path),
        )

    def close(self) -> None:
        """Write what is pending and close the files."""
        self.write(0.0)
        with self._giving_up():
            for table in self._tables.values():
                table.file.close()

    def abandon(self) -> None:
        """Let go of the files; they will be made again."""
        for table in self._tables.values():
            table.file.abandon()
        self._tables.clear()

    def _table(self, form: Format, patch: Patch) -> _Table | None:
        table = self._tables.get(form)
        if table is None:
            kind = "" if not self._tables else f"-{'x'.join(map(str, form.shape))}-{len(self._tables) + 1}"
            path = self._outputs.folder / f"{self.stem}{kind}.h5"
            rows, columns = patch.phase.shape
            provenance = {**self._outputs.provenance, "model": patch.model}
            header = ScanHeader(
                self._outputs.run,
                self.scan,
                (rows, columns),
                form.dtype,
                form.amplitude,
                patch.pixel_m,
                patch.id.time_ns,
                provenance,
            )
            with self._giving_up():
                table = self._tables[form] = _Table(ScanFile(path, header))
        return table

    @contextmanager
    def _giving_up(self) -> Generator[None]:
        """End the writing of files where one fails, rather than the sink: the log has everything."""
        try:
            yield
        except UnavailableError as error:
            _log.error("scan %s: %s", self.scan, error)
            self.broken = True
            self.abandon()


def file_stem(scan: str) -> str:
    """Return a file name for a scan: the same for the same name, another for another one."""
    stem = re.sub(r"[^\w.+-]", "_", scan, flags=re.ASCII).strip(".")[:80]
    return stem if stem and stem == scan else f"{stem or 'scan'}-{zlib.crc32(scan.encode()):08x}"
