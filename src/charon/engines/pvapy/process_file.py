"""File with the process ids of a running baseline, for programs that measure its processes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from charon.engines.embedded.processes import Process

PROCESS_FILE = "processes.json"
"""Name of the file in the folder of a baseline's logs: process id by name, without processes that are restarting."""


class ProcessFile:
    """Contains the process ids at the last `update`.

    Parameters
    ----------
    folder
        Folder of the file.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / PROCESS_FILE
        self._written: dict[str, int] | None = None

    def update(self, processes: Iterable[Process]) -> None:
        """Write the file, atomically, if a process has started or ended."""
        pids = {process.name: process.pid for process in processes if process.pid is not None}
        if pids == self._written:
            return
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(pids) + "\n")
        part.replace(self._path)
        self._written = pids
