"""The log sink logs each patch once."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from charon.frames import Frame, FrameId, LatePosition, Patch, Rejection, encode
from charon.ledger.id_set import IdSet
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.sinks.sink import BatchCounts

PATCH = Patch(
    FrameId("ad:image", 3, 50, 40), "run", np.zeros((4, 4), np.float32), 1e-8, "m@1", scan="s", position_m=(1e-6, 0.0)
)
REJECTION = Rejection(FrameId("ad:image", 4, 51, 40), "shape", "64x64 pixels", "in", "s")


def test_each_patch_and_rejection_is_logged_once(caplog):
    sink = LogSink()
    with caplog.at_level(logging.INFO):
        accepted = sink.accept(
            [encode(PATCH), encode(REJECTION), encode(PATCH), encode(LatePosition("ad:image", 50, (0.0, 0.0)))]
        )
    assert accepted == BatchCounts(reconstructed=1, rejected=1, positions=1, duplicates=1)
    assert [record.message.split(":")[0] for record in caplog.records] == ["patch ad", "rejected ad"]
    assert "4x4 at (1e-06, 0) m phase 0.000 to 0.000 rad by m@1" in caplog.text
    (entry,) = sink.report().entries
    assert entry.sets == {"reconstructed": IdSet([3]), "rejected:shape": IdSet([4])}
    assert entry.counts == {"duplicates": 1}


def test_quiet_sink_only_counts(caplog):
    sink = LogSink(quiet=True)
    with caplog.at_level(logging.INFO):
        assert sink.accept([encode(PATCH)]).reconstructed == 1
    assert not caplog.records


FRAME = Frame(FrameId("ad:image", 1, 1), np.zeros((2, 2), np.int16))
ONE_ROW = Patch(FrameId("ad:image", 1, 1), "run", np.zeros((1, 9), np.float32), 1e-8, "m@1")
WITHOUT_PIXEL_SIZE = Patch(FrameId("ad:image", 1, 1), "run", np.zeros((4, 4), np.float32), float("nan"), "m@1")
ID_TOO_LARGE = Patch(FrameId("ad:image", 1 << 70, 1), "run", np.zeros((4, 4), np.float32), 1e-8, "m@1")


@pytest.mark.parametrize(
    "payload", [b"", b"\xff\x00", encode(PATCH)[:-7], *map(encode, (FRAME, ONE_ROW, WITHOUT_PIXEL_SIZE, ID_TOO_LARGE))]
)
def test_invalid_message_does_not_block_valid_ones(payload, caplog):
    sink = LogSink()
    assert sink.accept([payload, encode(PATCH)]) == BatchCounts(reconstructed=1, unreadable=1)
    assert "skipped an invalid message" in caplog.text
    assert sink.report().unreadable == 1
