"""After any process is killed, the account and the image equal those of an undisturbed run.

The invariant: every frame that a source has published ends as exactly one of reconstructed and rejected,
and no patch is in the image twice.
"""

from __future__ import annotations

import json
import os
import signal

import psutil
import pytest
import yaml
from engine_images import assert_same_image, stitched

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
SCAN = ("--sample", "star", "--shape", "10x20", "--frame-rate", "40", "--report-period", "0")
FRAMES = 200


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return a cache for the image of an undisturbed run."""
    return {}


def _reference(undisturbed, live, manifest):
    if "image" not in undisturbed:
        run = live(manifest("calm.yaml"), "--quiet", folder="calm")
        run.detector(*SCAN).wait(90)
        summary = run.finish()
        assert (summary["published"], summary["missed"], summary["lost"]) == (FRAMES, 0, 0)
        assert summary["reconstructed"] == FRAMES
        undisturbed["image"] = stitched(run.output)
    return undisturbed["image"]


def _kill(pid):
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["cat.0", "image.0"])
def test_killed_vertex_loses_no_frame(live, manifest, undisturbed, victim):
    expected = _reference(undisturbed, live, manifest)
    run = live(manifest(), "--quiet")
    run.wait_ready()
    detector = run.detector(*SCAN)
    for minimum in (30, 90):
        run.wait_for(lambda s, minimum=minimum: s["account"]["reconstructed"] >= minimum)
        before = run.pid(victim)
        _kill(before)
        run.wait_for(lambda s, before=before: s["replicas"][victim]["pid"] != before)
    detector.wait(90)
    summary = run.finish()
    assert summary["restarts"] == {victim: 2}
    assert summary["published"] == FRAMES
    assert summary["missed"] == summary["lost"] == summary["rejected"] == 0
    assert summary["reconstructed"] == FRAMES
    assert summary["adds_up"]
    assert_same_image(stitched(run.output), expected)


def test_killed_server_with_file_storage_loses_none(live, manifest, undisturbed):
    expected = _reference(undisturbed, live, manifest)
    run = live(manifest(), "--quiet", "--storage", "file")
    run.wait_ready()
    detector = run.detector(*SCAN)
    run.wait_for(lambda s: s["account"]["reconstructed"] >= 60)
    _kill(run.server_pid())
    detector.wait(90)
    summary = run.finish()
    assert any("nats-server exited" in message for message in summary["messages"])
    assert summary["published"] == FRAMES
    assert summary["missed"] == summary["lost"] == summary["rejected"] == 0
    assert summary["reconstructed"] == FRAMES
    assert_same_image(stitched(run.output), expected)


def test_killed_source_lists_missed_frames(live, manifest):
    run = live(manifest(), "--quiet")
    source = run.wait_ready()["replicas"]["in.0"]["pid"]
    # Slow and long, so that the source is killed during the scan on a busy machine too.
    detector = run.detector("--sample", "noise", "--points", FRAMES, "--frame-rate", "20", "--report-period", "0")
    run.wait_for(lambda s: s["account"]["reconstructed"] >= 10)
    _kill(source)
    detector.wait(90)
    summary = run.finish()
    missed = {i for first, last in summary["missed_ids"].get("ad:image", []) for i in range(first, last + 1)}
    assert summary["restarts"] == {"in.0": 1}
    assert summary["published"] == FRAMES
    assert len(missed) == summary["missed"] > 0
    assert summary["lost"] == 0
    assert summary["reconstructed"] == FRAMES - summary["missed"]
    assert summary["adds_up"]


def test_run_of_killed_supervisor_can_be_resumed(live, manifest, undisturbed):
    expected = _reference(undisturbed, live, manifest)
    run = live(manifest(), "--quiet", "--storage", "file")
    run.wait_ready()
    detector = run.detector(*SCAN[:-4], "--frame-rate", "60", "--report-period", "0", "--shutdown-delay", "2")
    detector.wait(90)
    run.wait_for(lambda s: s["account"]["accepted"] == FRAMES)
    pids = run.pids()
    assert len(pids) >= 4
    _kill(run.process.pid)
    run.process.wait()
    _, left = psutil.wait_procs([psutil.Process(p) for p in pids if psutil.pid_exists(p)], timeout=30)
    assert not left
    assert run.status() is None
    again = live(manifest(), "--quiet", "--storage", "file", "--resume")
    again.wait_ready()
    again.wait_for(lambda s: s["account"]["in_flight"] == 0)
    summary = again.finish()
    assert summary["published"] == summary["reconstructed"] == FRAMES
    assert summary["lost"] == summary["missed"] == 0
    assert_same_image(stitched(run.output), expected)


def test_two_source_replicas_are_redundant(live, manifest, tmp_path):
    path = manifest()
    document = yaml.safe_load(path.read_text())
    next(vertex for vertex in document["spec"]["vertices"] if vertex["name"] == "in")["scale"] = {"min": 2, "max": 2}
    path.write_text(yaml.safe_dump(document))
    run = live(path, "--quiet")
    replicas = run.wait_ready()["replicas"]
    assert {"in.0", "in.1"} <= set(replicas)
    # One replica connects later than the other.
    late = psutil.Process(replicas["in.1"]["pid"])
    late.suspend()
    detector = run.detector(*SCAN, "--clients", "2")
    run.wait_for(lambda s: s["replicas"]["in.0"]["state"] == "running")
    late.resume()
    detector.wait(90)
    summary = run.finish()
    assert summary["published"] == summary["reconstructed"] == FRAMES
    assert summary["missed"] == summary["lost"] == 0
    # Each frame was published twice, and its second message recognised.
    assert summary["duplicates"] == FRAMES


def test_bad_frames_are_rejected_and_good_ones_not(live, manifest):
    run = live(manifest(), "--quiet")
    run.wait_ready()
    faults = ("--bad", "shape@20", "--bad", "truncated@30-31", "--bad", "codec@40", "--drop", "50-52")
    detector = run.detector(*SCAN, *faults)
    detector.wait(90)
    assert detector.returncode == 0, run.log()
    summary = run.finish()
    assert summary["published"] == FRAMES
    assert summary["rejected_by_reason"] == {"shape": 1, "truncated": 2, "codec": 1}
    assert summary["missed_ids"] == {"ad:image": [[50, 52]]}
    assert summary["reconstructed"] == FRAMES - 4 - 3
    assert summary["lost"] == 0
    assert summary["adds_up"]


def test_restarted_detector_begins_new_epoch(live, manifest):
    run = live(manifest(), "--quiet")
    run.wait_ready()
    detector = run.detector(*SCAN, "--restart-at", "100")
    detector.wait(90)
    published = json.loads(run.report.read_text())["published"]
    summary = run.finish()
    assert summary["replicas"]["in.0"]["restarts"] == 1
    assert summary["published"] == summary["reconstructed"] == published == FRAMES
    assert summary["missed"] == summary["lost"] == summary["duplicates"] == 0


def test_late_positions_give_the_same_image(live, manifest, undisturbed):
    expected = _reference(undisturbed, live, manifest)
    source = ["source", "--channel", "ad:image", "--model", "ptychonn2-sim", "--position-channel", "scan:position"]
    run = live(manifest(**{"in": source}), "--quiet")
    run.wait_ready()
    late = ("--position-channel", "scan:position", "--position-delay", "0.7", "--shutdown-delay", "2")
    detector = run.detector(*SCAN, *late)
    detector.wait(90)
    assert detector.returncode == 0, run.log()
    run.wait_for(lambda s: s["replicas"]["image.0"]["scans"]["scan-1"]["stitched"] == FRAMES)
    summary = run.finish()
    assert summary["published"] == summary["reconstructed"] == FRAMES
    assert summary["lost"] == summary["missed"] == 0
    assert_same_image(stitched(run.output), expected)
