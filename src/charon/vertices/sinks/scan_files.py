"""HDF5 files of one scan: one file for each format of its patches."""

from __future__ import annotations

import logging
import re
import time
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from charon.adapters.storage.nexus import Row, ScanFile, ScanHeader
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from charon.frames import Patch, Position, Rejection
    from charon.science.stitch import StitchedImage

_log = logging.getLogger(__name__)

_MAX_PENDING_ROWS = 128
_MAX_REJECTIONS = 10_000


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """Settings that are common to all scans of a sink.

    Parameters
    ----------
    folder
        Output folder.
    run
        Name of the run.
    provenance
        Text to store in the files, by keyword.
    weight_radius_m, weight_profile
        Weight of a patch: see `Canvas`.
    """

    folder: Path
    run: str
    provenance: Mapping[str, str]
    weight_radius_m: float | None = None
    weight_profile: tuple[float, ...] | None = None


class PatchFormat(NamedTuple):
    """Properties that all patches of a file share."""

    shape: tuple[int, ...]
    dtype: str
    has_amplitude: bool


class RowId(NamedTuple):
    """Row of a patch: the format identifies the file. The row is -1 if the patch is not in a file."""

    format: PatchFormat
    row: int


@dataclass(slots=True)
class _OpenFile:
    file: ScanFile
    pending: list[Row] = field(default_factory=list[Row])


class ScanFiles:
    """The HDF5 files of one scan, written in batches.

    The files can be rebuilt from the patch log. If one of them cannot be written, all of them are abandoned
    (`is_broken`) until the sink rebuilds them.

    Parameters
    ----------
    scan
        Name of the scan.
    settings
        Settings of the sink.
    """

    def __init__(self, scan: str, settings: ScanSettings) -> None:
        self.is_broken = False
        self._scan = scan
        self._settings = settings
        self._files: dict[PatchFormat, _OpenFile] = {}
        self._rejections: list[Rejection] = []
        self._written_s = time.monotonic()

    @property
    def paths(self) -> list[str]:
        """Paths of the files; may be read from any thread."""
        # A copy, because the sink's thread may abandon the files at any time.
        return [str(open_file.file.path) for open_file in list(self._files.values())]

    def add_patch(self, patch: Patch, position_m: Position | None, stitched_ns: int) -> RowId:
        """Add a patch to its file and return its row; `stitched_ns` is 0 if the patch is not in the image."""
        patch_format = PatchFormat(patch.phase.shape, patch.phase.dtype.str, patch.amplitude is not None)
        open_file = None if self.is_broken else self._open_file(patch_format, patch)
        if open_file is None:
            return RowId(patch_format, -1)
        open_file.pending.append(Row(patch, position_m, stitched_ns))
        return RowId(patch_format, open_file.file.rows + len(open_file.pending) - 1)

    def add_rejection(self, rejection: Rejection) -> None:
        """Add a rejected frame; it is written once the scan has a patch and therefore a file."""
        if len(self._rejections) < _MAX_REJECTIONS:
            self._rejections.append(rejection)

    def set_position(self, row_id: RowId, position_m: Position, stitched_ns: int) -> None:
        """Set the position of a patch that was added without one, and the time at which it was stitched."""
        open_file = self._files.get(row_id.format)
        if open_file is None or self.is_broken or row_id.row < 0:
            return
        if row_id.row >= open_file.file.rows:
            k = row_id.row - open_file.file.rows
            open_file.pending[k] = Row(open_file.pending[k].patch, position_m, stitched_ns)
            return
        with self._abandon_on_failure():
            open_file.file.set_position(row_id.row, position_m, stitched_ns)

    def write(self, interval_s: float) -> None:
        """Write pending rows if there are many or the last write was `interval_s` ago."""
        now = time.monotonic()
        pending = max((len(open_file.pending) for open_file in self._files.values()), default=0)
        if self.is_broken or not self._files or (pending < _MAX_PENDING_ROWS and now - self._written_s < interval_s):
            return
        self._written_s = now
        with self._abandon_on_failure():
            for open_file in self._files.values():
                if not open_file.file.has_space(len(open_file.pending)):
                    raise UnavailableError(
                        f"{open_file.file.path}: no space left on the disk; the file is rebuilt once there is space"
                    )
                open_file.file.append(open_file.pending)
                open_file.pending.clear()
            first = next(iter(self._files.values()))
            first.file.append_rejections(self._rejections)
            self._rejections.clear()
            for open_file in self._files.values():
                open_file.file.flush()

    def write_image(self, image: StitchedImage | None, account: Mapping[str, int]) -> None:
        """Write the image, if there is one, and the account of frames into the first file."""
        if self.is_broken or not self._files:
            return
        with self._abandon_on_failure():
            file = next(iter(self._files.values())).file
            if not file.has_space(0):
                return
            if image is not None:
                file.set_image(image)
            file.set_account(account)
            file.flush()

    def close(self) -> None:
        """Write pending rows and close the files."""
        self.write(0.0)
        with self._abandon_on_failure():
            for open_file in self._files.values():
                open_file.file.close()

    def abandon(self) -> None:
        """Close the files without writing pending rows."""
        for open_file in self._files.values():
            open_file.file.abandon()
        self._files.clear()

    def _open_file(self, patch_format: PatchFormat, patch: Patch) -> _OpenFile | None:
        """Return the file for a format, created if necessary; None if that fails."""
        open_file = self._files.get(patch_format)
        if open_file is None:
            header = self._header(patch_format, patch)
            with self._abandon_on_failure():
                open_file = self._files[patch_format] = _OpenFile(ScanFile(self._path(patch_format), header))
        return open_file

    def _path(self, patch_format: PatchFormat) -> Path:
        number = len(self._files) + 1
        suffix = "" if number == 1 else f"-{'x'.join(map(str, patch_format.shape))}-{number}"
        return self._settings.folder / f"{file_stem(self._scan)}{suffix}.h5"

    def _header(self, patch_format: PatchFormat, patch: Patch) -> ScanHeader:
        rows, columns = patch.phase.shape
        return ScanHeader(
            run=self._settings.run,
            scan=self._scan,
            shape=(rows, columns),
            dtype=patch_format.dtype,
            amplitude=patch_format.has_amplitude,
            pixel_m=patch.pixel_m,
            start_ns=patch.id.time_ns,
            provenance={**self._settings.provenance, "model": patch.model},
        )

    @contextmanager
    def _abandon_on_failure(self) -> Generator[None]:
        """Abandon all files, rather than end the process, if one cannot be written."""
        try:
            yield
        except UnavailableError as error:
            _log.error("scan %s: %s", self._scan, error)
            self.is_broken = True
            self.abandon()


def file_stem(name: str) -> str:
    """Return a file name for a scan or a run; different names give different file names."""
    stem = re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII).strip(".")[:80]
    return stem if stem and stem == name else f"{stem or 'scan'}-{zlib.crc32(name.encode()):08x}"
