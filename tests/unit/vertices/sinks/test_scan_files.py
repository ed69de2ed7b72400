"""The paths of a scan's files can be listed while the files are abandoned on another thread."""

from __future__ import annotations

import numpy as np

from charon.frames import FrameId, Patch
from charon.vertices.sinks.scan_files import ScanFiles, ScanSettings


def test_paths_are_listed_while_files_are_abandoned(tmp_path, monkeypatch):
    files = ScanFiles("scan", ScanSettings(tmp_path, "run", {}))
    for n, side in enumerate((4, 6), start=1):
        patch = Patch(FrameId("ad:image", n, 1000 + n), "run", np.zeros((side, side), np.float32), 1e-8, "net@1")
        files.add_patch(patch, (0.0, 0.0), 1)

    class AbandoningPath:
        """Abandons all files while it is converted, as the thread of the sink does on a full disk."""

        def __str__(self):
            files.abandon()
            return "scan.h5"

    for open_file in files._files.values():
        monkeypatch.setattr(open_file.file, "path", AbandoningPath())
    assert files.paths == ["scan.h5", "scan.h5"]
    assert files.paths == []
