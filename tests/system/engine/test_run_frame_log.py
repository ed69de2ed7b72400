"""The frame logs of a pipeline: exact sets of ids, times in order, and no id absent after a kill."""

from __future__ import annotations

import json
import os
import signal

import pytest

from charon.errors import Reason
from charon.ledger.frame_log import PROCESSED, RECEIVED, STITCHED, FrameLogReader, rejected
from charon.ledger.id_set import IdSet

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
SCAN = ("--sample", "noise", "--frame-rate", "50", "--report-period", "0")


def records(folder, replica):
    return FrameLogReader(folder / f"{replica}.bin").read()


def first_times_ns(rows, outcome):
    """Return the time of the first record with an outcome by uniqueId."""
    rows = rows[rows["outcome"] == outcome][::-1]
    return dict(zip(rows["unique_id"].tolist(), rows["done_ns"].tolist(), strict=True))


def test_records_equal_report_and_account(live, manifest, tmp_path):
    folder = tmp_path / "frames"
    run = live(manifest(), "--quiet", "--frame-log", str(folder))
    run.wait_ready()
    run.detector(*SCAN, "--points", 150, "--bad", "nan@40", "--bad", "shape@60", "--drop", "70-72")
    summary = run.finish()
    report = json.loads(run.report.read_text())
    source, inference, image = (records(folder, replica) for replica in ("in.0", "cat.0", "image.0"))
    received = first_times_ns(source, RECEIVED)
    processed = first_times_ns(inference, PROCESSED)
    stitched = first_times_ns(image, STITCHED)
    assert IdSet(received) == IdSet(range(1, 151)).minus(IdSet([70, 71, 72]))
    assert len(source[source["outcome"] == RECEIVED]) == report["published"] == summary["published"] - 3
    assert IdSet(processed) == IdSet(stitched) == IdSet(received).minus(IdSet([40, 60]))
    assert len(inference[inference["outcome"] == PROCESSED]) == len(image) == summary["reconstructed"]
    assert {*first_times_ns(source, rejected(Reason.SHAPE))} == {60}
    assert {*first_times_ns(source, rejected(Reason.NOT_FINITE))} == {40}
    assert summary["rejected"] == 2
    detector_ns = dict(zip(source["unique_id"].tolist(), source["time_ns"].tolist(), strict=False))
    # The sink may stitch a patch before the inference vertex receives the confirmation of the buffer.
    for n, stitched_ns in stitched.items():
        assert detector_ns[n] <= received[n] <= min(processed[n], stitched_ns)
        assert abs(stitched_ns - processed[n]) < 2e9


def test_killed_inference_leaves_no_id_out(live, manifest, tmp_path):
    folder = tmp_path / "frames"
    run = live(manifest(), "--quiet", "--frame-log", str(folder))
    run.wait_ready()
    detector = run.detector(*SCAN, "--points", 200)
    for minimum in (30, 90):
        run.wait_for(lambda s, minimum=minimum: s["account"]["reconstructed"] >= minimum)
        before = run.pid("cat.0")
        os.kill(before, signal.SIGKILL)
        run.wait_for(lambda s, before=before: s["replicas"]["cat.0"]["pid"] != before)
    detector.wait(60)
    summary = run.finish()
    assert (summary["restarts"], summary["reconstructed"]) == ({"cat.0": 2}, 200)
    frames = IdSet(range(1, 201))
    assert IdSet(first_times_ns(records(folder, "in.0"), RECEIVED)) == frames
    assert IdSet(first_times_ns(records(folder, "cat.0"), PROCESSED)) == frames
    stitched = records(folder, "image.0")["unique_id"].tolist()
    assert IdSet(stitched) == frames
    assert len(stitched) == 200
