"""Frame logs of an engine: one file per process, which grows during the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from charon.ledger.frame_log import RECORD, FrameLogReader

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class FrameFiles:
    """Records of all files in a folder whose name matches a pattern; files may appear at any time.

    Parameters
    ----------
    folder, pattern
        The folder, which need not exist yet, and the pattern.
    """

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder = folder
        self._pattern = pattern
        self._readers: dict[Path, FrameLogReader] = {}
        self._parts: list[NDArray[np.void]] = []

    def records(self) -> NDArray[np.void]:
        """Return all records so far, (n,) of `RECORD`."""
        for path in sorted(self._folder.glob(self._pattern)):
            new = self._readers.setdefault(path, FrameLogReader(path)).read()
            if len(new):
                self._parts.append(new)
        self._parts = [np.concatenate([np.empty(0, RECORD), *self._parts])]
        return self._parts[0]
