"""The baseline with PvaPy's programs: exact figures, and no process left behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest

from charon.engines.pvapy.commands import BaselineOptions, consumer_command
from charon.ledger.frame_log import RECEIVED, FrameLogReader
from charon.ledger.id_set import IdSet
from loopback import LOOPBACK, isolated_environment

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
SCAN = ("--frame-rate", "50", "--n-frames", "200")


def ids_of(epoch, outcome):
    return IdSet.from_ranges(epoch[outcome])


def test_every_frame_is_counted_by_id(start_baseline):
    run = start_baseline()
    report = run.detect(*SCAN, "--bad", "nan@50", "--drop", "70-72")
    run.wait(lambda: "pvapy_frame_processed_total" in run.metrics() and '"} 196' in run.metrics())
    page = run.metrics()
    assert 'pvapy_frame_missed_total{channel="ad:image"} 3' in page
    assert 'pvapy_frame_rejected_total{channel="ad:image",reason="not-finite"} 1' in page
    assert 'pvapy_frame_latency_seconds_count{channel="ad:image"} 196' in page
    summary = run.end()
    assert (run.process.returncode, summary["drained"]) == (0, True)
    assert run.has_no_process()
    assert summary["published"] == summary["processed"] + summary["missed"] + summary["rejected"]["not-finite"] == 200
    assert summary["received"] == report["published"] == 197
    (epoch,) = summary["epochs"]
    assert ids_of(epoch, "rejected") == IdSet([50])
    assert ids_of(epoch, "missed") == IdSet([70, 71, 72])
    assert ids_of(epoch, "processed") == IdSet(range(1, 201)).minus(IdSet([50, 70, 71, 72]))
    assert summary["latency_ms"]["count"] == 196


def test_consumers_share_the_frames(start_baseline):
    run = start_baseline("--consumers", "2", "--threads", "1", "--frames", "200")
    run.detect(*SCAN)
    run.process.wait(90)
    summary = run.end()
    assert (summary["processed"], summary["missed"]) == (200, 0)
    assert min(summary["processed_by_consumer"]) >= 50
    assert run.has_no_process()


def test_killed_consumer_is_restarted(start_baseline):
    run = start_baseline()
    consumer = next(child for child in run.children if "pvapy.cli.hpcConsumer" in child.cmdline())
    detector = subprocess.Popen(
        [sys.executable, "-m", "charon.cli.main", "detector", "--sample", "noise", "--frame-rate", "50", "-nf", "400"],
        env=run.environment,
    )
    try:
        run.wait(lambda: "pvapy_frame_processed_total" in run.metrics())
        consumer.kill()
        detector.wait(90)
    finally:
        detector.kill()
        detector.wait()
    summary = run.end()
    assert summary["restarts"] == {"consumer.1": 1}
    (epoch,) = summary["epochs"]
    assert ids_of(epoch, "processed").ranges()[-1][1] == 400
    assert summary["processed"] + summary["missed"] + summary["lost"] == summary["published"]
    records = FrameLogReader(run.output / "run/frames-1.bin").read()
    received = IdSet(records["unique_id"][records["outcome"] == RECEIVED].tolist())
    assert ids_of(epoch, "missed") == received.gaps()
    assert ids_of(epoch, "lost") == received.minus(ids_of(epoch, "processed"))


def test_no_process_survives_kill_of_supervisor(start_baseline):
    run = start_baseline()
    run.process.send_signal(signal.SIGKILL)
    run.process.wait(30)
    assert run.has_no_process()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_consumer_without_channel_warns_and_ends(tmp_path, number):
    options = BaselineOptions(channel="missing", output_channel="phase", model="ptychonn2-sim", folder=tmp_path)
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            consumer_command(options, 1), env=isolated_environment(), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 30
        while "missing:mirror" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(10) == 0
    finally:
        process.kill()
    first, second = log.read_text().splitlines()
    assert first.endswith("channel missing:mirror is unavailable; waiting until the mirror server and the detector run")
    assert second.endswith("received 0 frames, processed 0")


def test_second_interrupt_ends_the_drain(start_baseline):
    run = start_baseline()
    run.process.send_signal(signal.SIGINT)
    run.wait_for_log("draining")
    summary = run.end(signal.SIGINT)
    assert run.process.returncode == 1
    assert (summary["published"], summary["drained"]) == (0, False)
    assert run.has_no_process()


def test_port_in_use_is_one_line(tmp_path):
    with socket.socket() as blocker:
        blocker.bind((LOOPBACK, 0))
        blocker.listen()
        port = blocker.getsockname()[1]
        command = [sys.executable, "-m", "charon.cli.main", "baseline", "--local", "--metrics-port", str(port)]
        result = subprocess.run(
            [*command, "--output", str(tmp_path / "out")],
            env=isolated_environment(),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: cannot serve metrics on port {port} of 127.0.0.1: ")
    assert "--metrics-port" in result.stderr
