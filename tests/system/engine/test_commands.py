"""Commands that address a running pipeline, and errors of pipelines that cannot run."""

from __future__ import annotations

import shutil
import signal
import socket
from pathlib import Path

import psutil
import pytest

import charon

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]
SHIPPED = Path(charon.__file__).parent / "models" / "ptychonn2-sim"


def test_status_and_stop_find_the_run(live, manifest):
    run = live(manifest(sinks=("image", "out")), "--quiet")
    status = run.wait_ready()
    assert set(status["replicas"]) == {"in.0", "cat.0", "image.0", "out.0"}
    run.detector("--sample", "noise", "--points", "60", "--frame-rate", "30", "--report-period", "0").wait(90)
    run.wait_for(lambda s: s["account"]["published"] == 60)
    plain = run.ctl("status")
    assert plain.returncode == 0
    assert "published 60" in plain.stdout
    assert plain.stdout.splitlines()[1].startswith("in: ")
    second = run.ctl("run", str(manifest("again.yaml")), "--local", "--output", str(run.output.parent / "again"))
    assert second.returncode == 2
    assert "is already running" in second.stderr
    pids = run.pids()
    stopped = run.ctl("stop", "ptychography", "--local")
    assert stopped.returncode == 0, stopped.stderr
    assert "has ended" in stopped.stdout
    assert run.process.wait(30) == 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]
    summary = run.finish()
    assert summary["published"] == summary["reconstructed"] == 60
    assert summary["complete"]
    gone = run.ctl("status")
    assert gone.returncode == 2
    assert "no pipeline is running on this machine" in gone.stderr


def test_interrupt_drains_accepted_frames(live, manifest):
    slow = ["inference", "--model", "ptychonn2-sim", "--slow-ms", "400"]
    run = live(manifest(cat=slow), "--quiet")
    run.wait_ready()
    run.detector("--sample", "noise", "--points", "80", "--frame-rate", "80", "--report-period", "0")
    run.wait_for(lambda s: s["account"]["in_flight"] > 20)
    run.process.send_signal(signal.SIGINT)
    assert run.process.wait(90) == 0, run.log()
    summary = run.finish()
    assert summary["lost"] == summary["in_flight"] == 0
    assert summary["accepted"] == summary["reconstructed"] > 20
    assert summary["adds_up"]


def test_damaged_model_is_one_error_line(live, manifest, tmp_path):
    bundle = tmp_path / "damaged"
    shutil.copytree(SHIPPED, bundle)
    with (bundle / "model.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0" * 64)
    run = live(manifest(cat=["inference", "--model", bundle]))
    assert run.process.wait(90) == 2
    errors = [line for line in run.log().splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "vertex 'cat'" in errors[0]
    assert "damaged" in errors[0]
    assert str(bundle) in errors[0]


def test_port_in_use_by_another_server_is_named(live, manifest):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        run = live(manifest(), "--nats-port", str(port))
        assert run.process.wait(90) == 1
    assert f"port {port} on 127.0.0.1 is not available: Address already in use" in run.log()


def test_results_are_not_overwritten(live, manifest, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "scan-1.h5").write_text("precious")
    run = live(manifest())
    assert run.process.wait(90) == 2
    assert "--resume" in run.log()
    assert (folder / "scan-1.h5").read_text() == "precious"
