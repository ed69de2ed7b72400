"""The detector command publishes what it reports, on time, including faults."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from p4p.client.thread import Context

from charon.adapters.pvaccess import FrameMonitor, PositionMonitor
from charon.adapters.recordings import open_recording
from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.errors import BadFrameError
from charon.ledger.frame_log import PUBLISHED, FrameLogReader
from charon.ledger.id_set import IdSet

pytestmark = pytest.mark.system

DETECTOR = (sys.executable, "-m", "charon.cli.main", "detector")
SHARED = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture
def detector(tmp_path):
    """Return a function that starts the command, which is killed at the end of the test."""
    started = []

    def start(channel, *options):
        files = ("--report", tmp_path / "report.json")
        command = [*DETECTOR, "-cn", channel, "-shd", "0.3", *map(str, (*files, *options))]
        started.append(subprocess.Popen(command))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def follow(collector):
    """Return a function that subscribes to a channel before the detector starts."""
    monitors = []

    def start(channel):
        monitors.append(FrameMonitor(channel, collector.add, collector.state))
        monitors[-1].start()
        return collector

    yield start
    for monitor in monitors:
        monitor.stop()


def final_report(process, tmp_path, timeout_s=60):
    """Wait until the command has succeeded, and return its report."""
    assert process.wait(timeout_s) == 0
    return json.loads((tmp_path / "report.json").read_text())


def ids(updates):
    """Return the uniqueIds of all updates in order, without the empty first update."""
    return [n for n in (update.identify().unique_id for update in updates) if n]


def test_2000_frames_at_500_hz_have_no_gap(detector, follow, tmp_path):
    seen = follow("test:fast")
    process = detector("test:fast", "--sample", "noise", "-fps", 500, "-nf", 2000, "-shd", 1)
    report = final_report(process, tmp_path)
    seen.wait(lambda c: len(c.items) >= 2001, 10)
    assert ids(seen.items) == list(range(1, 2001))
    assert report["published"] == 2000
    assert report["acquisitions"][0]["ids"] == [[1, 2000]]
    stamps = [update.identify().time_ns for update in seen.items[1:]]
    assert (stamps[0], stamps[-1]) == tuple(report["acquisitions"][0][f"{end}_time_ns"] for end in ("first", "last"))
    # Deadlines are absolute: no frame is published early, and the last one can be late on a busy machine.
    assert (stamps[-1] - stamps[0]) / 1e9 > 1998 / 500


def test_simulated_scan_matches_its_truth(detector, follow, tmp_path):
    seen = follow("test:scan")
    options = ("--scan", "snake", "--shape", "3x4", "--step", 2e-7, "--seed", 3, "--truth", tmp_path / "truth.npz")
    report = final_report(detector("test:scan", *options, "--codec", "bslz4"), tmp_path)
    seen.wait(lambda c: len(c.items) == 13)
    frames = [update.frame() for update in seen.items[1:]]
    with np.load(tmp_path / "truth.npz") as truth:
        assert truth["object"].dtype == np.complex64
        assert float(truth["pixel_m"]) == pytest.approx(10e-9)
        np.testing.assert_allclose([f.position_m for f in frames], truth["positions_m"])
    assert {(f.image.shape, f.image.dtype, f.scan) for f in frames} == {((512, 512), np.dtype("i2"), "scan-1")}
    assert all(3e5 < f.image.sum() < 2e6 for f in frames)
    assert report["positions"] == {"count": 12, "channel": None}


def test_measured_siemens_star_is_replayed(detector, follow, tmp_path):
    path = SHARED / "siemens_star" / "siemens-star-small.npz.bz2"
    if not path.is_file():
        pytest.skip(f"measured data not found at {path}")
    seen = follow("test:star")
    options = ("-if", path, "--fftshift", "--position-scale", 29e-9, "-fps", 400, "--scan-id", "velociprobe")
    final_report(detector("test:star", *options), tmp_path)
    seen.wait(lambda c: len(c.items) == 517)
    recording = open_recording(path, position_scale_m=29e-9, fftshift=True)
    assert recording.positions_m is not None
    for index, update in enumerate(seen.items[1:]):
        frame = update.frame()
        assert frame.id.unique_id == index + 1
        assert frame.position_m == pytest.approx(tuple(recording.positions_m[index]))
        np.testing.assert_array_equal(frame.image, recording.frame(index))
    assert frame.scan == "velociprobe"
    mean = np.mean([update.frame().image for update in seen.items[1:]], axis=0)
    assert mean[32:96, 32:96].sum() > 0.9 * mean.sum(), "zero frequency must be in the centre"


def test_faults_are_published_as_reported(detector, follow, tmp_path):
    seen = follow("test:faults")
    options = ("--sample", "noise", "-nx", 32, "-ny", 16, "-nf", 40, "--drop", "5,7-8", "--bad", "nan@10-11")
    report = final_report(detector("test:faults", *options, "--bad", "codec@20", "--bad", "empty@30"), tmp_path)
    seen.wait(lambda c: len(c.items) == 38)
    (acquisition,) = report["acquisitions"]
    assert IdSet.from_ranges(acquisition["ids"]) == IdSet(ids(seen.items))
    assert (acquisition["count"], acquisition["dropped"]) == (37, [[5, 5], [7, 8]])
    reasons = {}
    for update in seen.items[1:]:
        try:
            assert update.frame().image.shape == (16, 32)
        except BadFrameError as error:
            reasons[str(update.identify().unique_id)] = error.reason.value
    assert reasons == {"10": "not-finite", "11": "not-finite", "20": "codec", "30": "empty"}
    assert set(reasons) == set(acquisition["bad"])


def test_restarted_detector_resets_unique_ids(detector, follow, tmp_path):
    seen = follow("test:restart")
    options = ("--sample", "noise", "-nx", 16, "-ny", 16, "-nf", 30, "--restart-at", 21, "--restart-pause", 0.2)
    report = final_report(detector("test:restart", *options), tmp_path)
    seen.wait(lambda c: len(ids(c.items)) == 30)
    assert ids(seen.items) == [*range(1, 21), *range(1, 11)]
    assert [acquisition["ids"] for acquisition in report["acquisitions"]] == [[[1, 20]], [[1, 10]]]
    assert seen.states[:3] == [True, False, True]


def test_frame_log_has_each_published_frame(detector, follow, tmp_path):
    seen = follow("test:log")
    log = tmp_path / "logs" / "detector.bin"
    options = ("--sample", "noise", "-nx", 16, "-ny", 16, "-nf", 30, "--drop", "7", "--bad", "nan@5")
    report = final_report(detector("test:log", *options, "--frame-log", log, "--client-delay", 1), tmp_path)
    seen.wait(lambda c: len(c.items) == 30)
    records = FrameLogReader(log).read()
    assert records["outcome"].tolist() == [PUBLISHED] * 29
    assert records["unique_id"].tolist() == [*range(1, 7), *range(8, 31)]
    assert records["time_ns"][[0, -1]].tolist() == [
        report["acquisitions"][0]["first_time_ns"],
        report["acquisitions"][0]["last_time_ns"],
    ]
    assert (records["done_ns"] >= records["time_ns"]).all()


def test_detector_waits_for_each_client(detector, follow, tmp_path):
    seen = follow("test:clients")
    options = ("--sample", "noise", "-nx", 16, "-ny", 16, "-nf", 20, "--clients", 2)
    process = detector("test:clients", *options)
    seen.wait(lambda c: c.items)
    # With one client, the detector would publish after half a second.
    time.sleep(1.5)
    assert ids(seen.items) == []
    with Context("pva") as second:
        second.get("test:clients", timeout=20)
        final_report(process, tmp_path)
    seen.wait(lambda c: len(c.items) == 21)
    assert ids(seen.items) == list(range(1, 21))


def test_late_positions_have_times_of_frames(detector, follow, tmp_path, collector):
    positions = type(collector)()
    monitor = PositionMonitor("test:late:positions", "test:late", positions.add, positions.state)
    monitor.start()
    try:
        seen = follow("test:late")
        options = ("--sample", "noise", "-nx", 16, "-ny", 16, "--scan", "spiral", "--points", 50)
        process = detector("test:late", *options, "--position-channel", "test:late:positions")
        report = final_report(process, tmp_path)
        positions.wait(lambda c: len(c.items) == 51)
    finally:
        monitor.stop()
    stamps = [update.identify().time_ns for update in seen.items[1:]]
    late = [item.position() for item in positions.items[1:]]
    assert [position.time_ns for position in late] == stamps
    assert late[0].position_m == (0.0, 0.0)
    assert late[0].channel == "test:late"
    assert all(update.frame().position_m is None for update in seen.items[1:])
    assert report["positions"] == {"count": 50, "channel": "test:late:positions"}


def test_sigterm_ends_detector_with_a_report(detector, follow, tmp_path):
    seen = follow("test:endless")
    process = detector("test:endless", "--sample", "noise", "-nx", 16, "-ny", 16, "--repeat", 0)
    seen.wait(lambda c: len(c.items) > 20)
    process.send_signal(signal.SIGTERM)
    report = final_report(process, tmp_path, 20)
    assert 20 <= report["published"] < 2000
    assert report["acquisitions"][0]["ids"] == [[1, report["published"]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-nx", 100, "-ny", 50), "detector_shape must be square"),
        (("--bad", "odd@3"), "--bad odd@3: expected FAULT@NUMBERS"),
        (("--drop", "3-x"), "not a list of numbers"),
        (("--clients", 2, "--no-wait"), "--clients and --no-wait exclude each other"),
        (("--step", 0), "invalid value for '--step': 0.0: must be greater than 0"),
        (("-if", "missing.npz"), "missing.npz"),
        (("--sample", "noise", "--truth", "truth.npz"), "--truth requires a simulated sample"),
    ],
)
def test_usage_error_names_the_cause(options, message, capsys):
    assert run_command(cli, ["detector", *map(str, options)]) == 2
    assert message in capsys.readouterr().err
