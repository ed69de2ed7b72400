"""The log of frames: a reader returns the records that writers have appended, also after one of them was killed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from charon.errors import Reason, UnavailableError
from charon.frames import FrameId
from charon.ledger.frame_log import (
    FIRST_REJECTED,
    PROCESSED,
    PUBLISHED,
    RECEIVED,
    RECORD,
    REPEATED,
    STITCHED,
    UNSTITCHED,
    FrameLog,
    FrameLogReader,
    reason_of,
    rejected,
)

INT64 = st.integers(-(2**63), 2**63 - 1)
RECORDS = st.lists(st.tuples(INT64, INT64, INT64, st.integers(1, 200), st.integers(0, 2**31 - 1)), max_size=20)


def append(log, records):
    for unique_id, time_ns, done_ns, outcome, queued in records:
        log.append(FrameId("ad:image", unique_id, time_ns), outcome, done_ns, queued)


def test_log_reader_returns_complete_new_records(tmp_path):
    reader = FrameLogReader(tmp_path / "log")
    assert len(reader.read()) == 0
    log = FrameLog(tmp_path / "log")
    append(log, [(1, 2, 3, PROCESSED, 4)])
    assert reader.read().tolist() == [(1, 2, 3, PROCESSED, 4)]
    # The rest of a record that is being written.
    with (tmp_path / "log").open("ab") as file:
        file.write(b"\0" * 5)
    assert len(reader.read()) == 0
    log.close()


@given(st.lists(st.tuples(RECORDS, st.integers(0, RECORD.itemsize - 1)), min_size=1, max_size=4))
def test_log_continues_after_killed_writers(tmp_path_factory, processes):
    path = tmp_path_factory.mktemp("log") / "cat.0.bin"
    for records, rest in processes:
        log = FrameLog(path)
        append(log, records)
        log.close()
        with path.open("ab") as file:
            file.write(b"\1" * rest)
    written = [record for records, _ in processes for record in records]
    assert FrameLogReader(path).read().tolist() == written


def test_log_is_read_with_numpy(tmp_path):
    log = FrameLog(tmp_path / "in.0.bin")
    append(log, [(1, 2, 3, RECEIVED, 0), (1, 2, 4, STITCHED, 0)])
    log.close()
    records = np.fromfile(tmp_path / "in.0.bin", "<i8,<i8,<i8,<i4,<i4")
    assert records.tolist() == [(1, 2, 3, 1, 0), (1, 2, 4, 3, 0)]


def test_outcomes_are_distinct_and_fixed():
    codes = [rejected(reason) for reason in Reason]
    assert codes == list(range(FIRST_REJECTED, FIRST_REJECTED + len(Reason)))
    assert [reason_of(code) for code in codes] == list(Reason)
    assert [RECEIVED, PROCESSED, STITCHED, REPEATED, PUBLISHED, UNSTITCHED] == [1, 2, 3, 4, 5, 6]


def test_other_outcome_has_no_reason():
    with pytest.raises(ValueError, match="outcome 4"):
        reason_of(REPEATED)


def test_unwritable_file_is_named(tmp_path):
    with pytest.raises(UnavailableError, match=r"missing/cat\.0\.bin: No such file"):
        FrameLog(tmp_path / "missing" / "cat.0.bin")
    (tmp_path / "full").symlink_to("/dev/full")
    full = FrameLog(tmp_path / "full")
    with pytest.raises(OSError, match=r"No space left.*full"):
        full.append(FrameId("ad:image", 1, 2), RECEIVED, 3)
