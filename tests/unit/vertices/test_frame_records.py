"""Each vertex records the frames that it receives, processes, rejects or stitches, each with its time."""

from __future__ import annotations

import asyncio
import time

import numpy as np
import pytest
from vertex_fakes import FakeBackend, FakeDelivery, FakeInlet, FakeOutlet, FakeUpdate

from charon.errors import BadFrameError, Reason
from charon.frames import Frame, FrameId, LatePosition, Patch, Rejection, encode
from charon.ledger.frame_log import (
    PROCESSED,
    RECEIVED,
    REPEATED,
    STITCHED,
    FrameLog,
    FrameLogReader,
    rejected,
)
from charon.vertices.inference import InferenceVertex, ModelInfo
from charon.vertices.sinks.image_sink import ImageSink
from charon.vertices.source import SourceVertex

CHANNEL = "ad:image"
START_NS = 1_760_000_000_000_000_000


def records(path):
    """Return (uniqueId, outcome) of the records, in order."""
    return [(int(row["unique_id"]), int(row["outcome"])) for row in FrameLogReader(path).read()]


def times_ns(path, outcome):
    """Return the times of an outcome by uniqueId."""
    rows = FrameLogReader(path).read()
    return {int(row["unique_id"]): int(row["done_ns"]) for row in rows if row["outcome"] == outcome}


def run_source(path, updates):
    async def main():
        vertex = SourceVertex(CHANNEL, frame_log=FrameLog(path))
        for update in updates:
            vertex.on_update(update)
        stop = asyncio.Event()
        stop.set()
        await asyncio.wait_for(vertex.work([FakeOutlet()], stop), 20)

    asyncio.run(main())


def run_inference(path, messages, outlet=None):
    async def main():
        stop = asyncio.Event()
        deliveries = [FakeDelivery(message) for message in messages]
        vertex = InferenceVertex(FakeBackend(), ModelInfo("net@3", (2, 2), 1e-8), "run", frame_log=FrameLog(path))
        inlet = FakeInlet([[delivery] for delivery in deliveries], stop)
        await asyncio.wait_for(vertex.work(inlet, [outlet or FakeOutlet()], stop), 20)

    asyncio.run(main())


def test_source_records_every_delivery(tmp_path):
    path = tmp_path / "in.0.bin"
    updates = [FakeUpdate(1), FakeUpdate(1), FakeUpdate(2, frame=BadFrameError(Reason.CODEC, "bad")), FakeUpdate(4)]
    updates.append(FakeUpdate(5, identify=BadFrameError(Reason.MALFORMED, "not a frame")))
    run_source(path, updates)
    assert sorted(records(path)) == sorted(
        [(1, RECEIVED), (1, REPEATED), (2, RECEIVED), (2, rejected(Reason.CODEC)), (4, RECEIVED)]
    )
    assert times_ns(path, RECEIVED) == {1: 5001, 2: 5002, 4: 5004}
    assert times_ns(path, rejected(Reason.CODEC))[2] <= time.time_ns()


def test_frames_missed_by_the_ring_have_no_record(tmp_path):
    path = tmp_path / "in.0.bin"
    run_source(path, [FakeUpdate(n) for n in range(1, 301)])
    assert records(path) == [(n, RECEIVED) for n in range(1, 257)]


def test_inference_records_what_it_acknowledges(tmp_path):
    path = tmp_path / "cat.0.bin"
    images = {1: np.ones((2, 2)), 2: np.ones((3, 2)), 3: np.full((2, 2), np.nan), 4: np.zeros((2, 2))}
    messages = [encode(Frame(FrameId(CHANNEL, n, 1000 + n), image)) for n, image in images.items()]
    messages.append(encode(Rejection(FrameId(CHANNEL, 5, 1005), Reason.CODEC, "by the source", "source")))
    messages.append(encode(LatePosition(CHANNEL, 1001, (0.0, 0.0))))
    before_ns = time.time_ns()
    run_inference(path, [*messages, b"undecodable"])
    outcomes = {1: PROCESSED, 2: rejected(Reason.SHAPE), 3: rejected(Reason.NOT_FINITE), 4: PROCESSED}
    assert dict(records(path)) == outcomes
    assert all(before_ns <= done_ns <= time.time_ns() for done_ns in times_ns(path, PROCESSED).values())


def test_unconfirmed_result_has_no_record(tmp_path):
    outlet = FakeOutlet()
    outlet.fault = RuntimeError("refused")
    with pytest.raises(RuntimeError, match="refused"):
        run_inference(tmp_path / "cat.0.bin", [encode(Frame(FrameId(CHANNEL, 1, 1001), np.ones((2, 2))))], outlet)
    assert records(tmp_path / "cat.0.bin") == []


def patch(n, position_m: tuple[float, float] | None = (0.0, 0.0)):
    phase = np.ones((8, 8), np.float32)
    return encode(
        Patch(FrameId(CHANNEL, n, START_NS + n), "run", phase, 1e-8, "m@1", scan="scan", position_m=position_m)
    )


def open_sink(folder):
    return ImageSink(folder / "out", run="run", fsync="off", frame_log=folder / "image.0.bin")


def test_patch_is_recorded_when_it_is_stitched(tmp_path):
    sink, path = open_sink(tmp_path), tmp_path / "image.0.bin"
    rejection = encode(Rejection(FrameId(CHANNEL, 3, START_NS + 3), Reason.CODEC, "bad", "source"))
    sink.accept([patch(1), patch(2, None), rejection, patch(1)])
    assert records(path) == [(1, STITCHED)]
    before_ns = time.time_ns()
    sink.accept([encode(LatePosition(CHANNEL, START_NS + 2, (1e-8, 0.0)))])
    assert records(path) == [(1, STITCHED), (2, STITCHED)]
    assert before_ns <= times_ns(path, STITCHED)[2] <= time.time_ns()
    sink.close()


def test_replayed_patch_has_no_second_record(tmp_path):
    for n in (1, 2):
        sink = open_sink(tmp_path)
        sink.accept([patch(n)])
        sink.close()
    assert records(tmp_path / "image.0.bin") == [(1, STITCHED), (2, STITCHED)]


def test_patch_of_killed_sink_is_recorded_on_replay(tmp_path):
    # The sink was killed when the patches were in the patch log, and before they were recorded.
    sink, path = open_sink(tmp_path), tmp_path / "image.0.bin"
    before_ns = time.time_ns()
    sink.accept([patch(1), patch(2)])
    sink.close()
    logged_ns = time.time_ns()
    path.write_bytes(path.read_bytes()[:-5])
    open_sink(tmp_path).close()
    assert records(path) == [(1, STITCHED), (2, STITCHED)]
    assert before_ns <= times_ns(path, STITCHED)[2] <= logged_ns


def test_patch_far_from_the_image_is_recorded_later(tmp_path):
    # The first position is wrong, so the image moves and the other patches are stitched again.
    sink = open_sink(tmp_path)
    sink.accept([patch(1, (10.0, 10.0))])
    sink.accept([patch(n, (1e-8 * n, 0.0)) for n in range(2, 8)])
    sink.close()
    assert records(tmp_path / "image.0.bin") == [(n, STITCHED) for n in range(1, 8)]
