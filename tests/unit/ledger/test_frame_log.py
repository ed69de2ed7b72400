"""The log of frames: what a reader returns of what writers have appended."""

from __future__ import annotations

from charon.ledger.frame_log import PROCESSED, FrameLog, FrameLogReader


def test_log_reader_returns_complete_new_records(tmp_path):
    reader = FrameLogReader(tmp_path / "log")
    assert len(reader.read()) == 0
    log = FrameLog(tmp_path / "log")
    log.append([(1, 2, 3, PROCESSED, 4)])
    assert reader.read().tolist() == [(1, 2, 3, PROCESSED, 4)]
    # The rest of a record that is being written.
    with (tmp_path / "log").open("ab") as file:
        file.write(b"\0" * 5)
    assert len(reader.read()) == 0
    log.close()
