"""The baseline's stitched image: equal to that of a pipeline, with exact numbers of the patches that it lacks."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from charon.adapters.storage.nexus_reader import read_image
from charon.ledger.frame_log import PROCESSED, RECEIVED, STITCHED, FrameLogReader
from embedded_run import reconstruct_embedded

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
LIVE = Path(__file__).parents[3] / "workflows/aps/numaflow-aps-live.yaml"
STAR = ("--sample", "star", "--shape", "10x12", "--frame-rate", "30", "--report-period", "0")
FRAMES = 120


def times_ns(path, outcome):
    rows = FrameLogReader(path).read()
    rows = rows[rows["outcome"] == outcome]
    return dict(zip(rows["unique_id"].tolist(), rows["done_ns"].tolist(), strict=True))


def test_image_equals_that_of_a_pipeline(start_baseline, tmp_path):
    run = start_baseline("--stitch", "--consumers", "2", "--threads", "1", "--frames", str(FRAMES))
    run.detect(*STAR, "--wait-for-client")
    run.process.wait(60)
    summary = run.end()
    assert (summary["processed"], summary["stitched"]) == (FRAMES, FRAMES), run.log.read_text()
    assert summary["missed_by_stitcher"] == summary["unstitched"] == summary["lost_by_stitcher"] == 0
    assert f"stitched {FRAMES}  unstitched 0  missed by stitcher 0  lost by stitcher 0" in run.log.read_text()
    assert run.has_no_process()
    logs = [run.output / "run" / f"frames-{consumer}.bin" for consumer in (1, 2)]
    processed = {n: time_ns for log in logs for n, time_ns in times_ns(log, PROCESSED).items()}
    received, stitched = (times_ns(run.output / "run/stitched.bin", outcome) for outcome in (RECEIVED, STITCHED))
    assert set(processed) == set(received) == set(stitched) == set(range(1, FRAMES + 1))
    assert all(received[n] <= stitched[n] for n in stitched)
    (tmp_path / "pipeline").mkdir()
    expected = reconstruct_embedded(tmp_path / "pipeline", LIVE, FRAMES, *STAR)
    image = read_image(run.output / "scan-1.h5")
    assert image is not None
    assert (run.output / "scan-1.png").exists()
    assert image.phase.shape == expected.phase.shape
    assert image.origin_m == pytest.approx(expected.origin_m)
    np.testing.assert_allclose(image.weight, expected.weight, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(image.transmission, expected.transmission, atol=1e-4)
    inside = expected.weight > 0.1 * expected.weight.max()
    np.testing.assert_allclose(image.phase[inside], expected.phase[inside], atol=1e-4)


def test_late_positions_are_reported_once(start_baseline):
    run = start_baseline("--stitch", "--frames", "40")
    run.detect("--frame-rate", "40", "--n-frames", "40", "--wait-for-client", "--position-channel", "ad:position")
    run.process.wait(60)
    summary = run.end()
    assert (summary["processed"], summary["stitched"], summary["unstitched"]) == (40, 0, 40)
    (message,) = summary["messages"]
    assert "x_position and y_position" in message
    assert run.log.read_text().count(message) == 1
    assert run.process.returncode == 0


def test_killed_stitcher_loses_its_image(start_baseline):
    run = start_baseline("--stitch")
    stitcher = next(child for child in run.children if "StitchProcessor" in child.cmdline())

    with subprocess.Popen(run.detector_command("--frame-rate", "30", "-nf", "300"), env=run.environment) as detector:
        run.wait(lambda: len(times_ns(run.output / "run/stitched.bin", STITCHED)) >= 20)
        stitcher.kill()
        detector.wait(60)
    summary = run.end()
    assert summary["restarts"] == {"stitcher": 1}
    assert summary["lost_by_stitcher"] > 0
    assert summary["stitched"] > 0
    parts = ("stitched", "unstitched", "missed_by_stitcher", "lost_by_stitcher")
    assert sum(summary[part] for part in parts) == summary["processed"]
    image = read_image(run.output / "scan-1.h5")
    assert image is not None
