"""The file with the process ids of a running baseline."""

from __future__ import annotations

import json
import sys

from charon.engines.embedded.processes import Process
from charon.engines.pvapy.process_file import PROCESS_FILE, ProcessFile

WAIT = [sys.executable, "-c", "import time; time.sleep(60)"]


def read(folder):
    return json.loads((folder / PROCESS_FILE).read_text())


def test_file_has_pids_of_running_processes(tmp_path):
    consumer = Process("consumer.1", WAIT, {}, tmp_path / "log")
    mirror = Process("mirror", WAIT, {}, tmp_path / "log")
    file = ProcessFile(tmp_path)
    consumer.start()
    try:
        file.update([consumer, mirror])
        assert read(tmp_path) == {"consumer.1": consumer.pid}
    finally:
        consumer.kill()
    file.update([consumer, mirror])
    assert read(tmp_path) == {}


def test_file_is_written_only_after_changes(tmp_path):
    file = ProcessFile(tmp_path)
    file.update([])
    (tmp_path / PROCESS_FILE).unlink()
    file.update([])
    assert not (tmp_path / PROCESS_FILE).exists()
