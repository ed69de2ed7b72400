"""The account of stitched patches: exact figures for known losses and restarts of the stitching consumer."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from charon.engines.pvapy.stitch_account import StitchAccount, StitchReader, stitch_account_of
from charon.frames import FrameId
from charon.ledger.frame_log import (
    PROCESSED,
    RECEIVED,
    RECORD,
    REPEATED,
    STITCHED,
    UNSTITCHED,
    FrameLog,
)

FATES = st.sampled_from(["stitched", "repeated", "unstitched", "missed", "lost"])
OUTCOMES = {"stitched": STITCHED, "repeated": STITCHED, "unstitched": UNSTITCHED, "lost": STITCHED}


def array(records):
    return np.array(records, RECORD)


def stitcher_records(fates, kept):
    """Return the records of the frames that a process of the stitching consumer received."""
    for n, fate in enumerate(fates, 1):
        if fate in kept:
            yield n, 10 * n, 0, RECEIVED, 0
            yield n, 10 * n, 0, OUTCOMES[fate], 0
        if fate == "repeated" and fate in kept:
            yield n, 10 * n, 0, REPEATED, 0


@given(st.lists(FATES), st.integers(1, 3))
def test_every_patch_is_counted_once(fates, consumers):
    logs = [
        array([(n, 10 * n, 0, PROCESSED, 0) for n in range(1, len(fates) + 1) if n % consumers == k])
        for k in range(consumers)
    ]
    # The frames that were stitched by a killed process are lost.
    before = list(stitcher_records(fates, {"lost"}))
    after = list(stitcher_records(fates, {"stitched", "repeated", "unstitched"}))
    account = stitch_account_of(logs, array(before + after), len(before))
    assert account == StitchAccount(
        stitched=fates.count("stitched") + fates.count("repeated"),
        unstitched=fates.count("unstitched"),
        missed=fates.count("missed"),
        lost=fates.count("lost"),
    )
    assert sum(account.to_json().values()) == len(fates)


def test_patches_of_killed_process_are_lost(tmp_path):
    reader, messages = StitchReader(tmp_path / "stitched.bin"), []
    processed = array([(n, n, 0, PROCESSED, 0) for n in range(1, 5)])
    log = FrameLog(tmp_path / "stitched.bin")
    for n in (1, 2):
        log.append(FrameId("ad:image", n, n), RECEIVED, 0)
        log.append(FrameId("ad:image", n, n), STITCHED, 0)
    reader.restart()
    # The new process receives the latest result again.
    for n in (2, 3):
        log.append(FrameId("ad:image", n, n), RECEIVED, 0)
        log.append(FrameId("ad:image", n, n), STITCHED, 0)
    reader.read()
    reader.update([processed], messages)
    assert reader.account == StitchAccount(stitched=2, missed=1, lost=1)
    assert messages == []


def test_unstitched_patches_give_one_message(tmp_path):
    reader, messages = StitchReader(tmp_path / "stitched.bin"), []
    log = FrameLog(tmp_path / "stitched.bin")
    for n in (1, 2):
        log.append(FrameId("ad:image", n, n), RECEIVED, 0)
        log.append(FrameId("ad:image", n, n), UNSTITCHED, 0)
        reader.read()
        reader.update([], messages)
    assert reader.account.unstitched == 2
    (message,) = messages
    assert "x_position and y_position" in message
