"""Errors of ``charon-vertex`` before a vertex starts: one line and an exit status."""

from __future__ import annotations

import subprocess
import sys

from charon.settings.nats import NatsAddress
from charon.settings.vertex import EmbeddedSettings

NUMAFLOW = {"NUMAFLOW_PIPELINE_NAME": "aps", "NUMAFLOW_VERTEX_NAME": "out", "NUMAFLOW_REPLICA": "0"}


def run(command, variables):
    return subprocess.run(
        [sys.executable, *command],
        env={**variables, "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_missing_pynumaflow_is_one_line(tmp_path):
    program = (
        "import sys; sys.modules['pynumaflow'] = None; sys.argv = ['charon-vertex', 'log-sink']\n"
        "from charon.cli.vertex import main; main()"
    )
    done = run(["-c", program], {**NUMAFLOW, "CHARON_NUMAFLOW_SOCKETS": str(tmp_path)})
    assert done.returncode == 2
    assert "error: pynumaflow is not installed: pip install pynumaflow" in done.stderr
    assert "Traceback" not in done.stderr


def test_missing_socket_folder_is_one_line(tmp_path):
    variables = {**NUMAFLOW, "CHARON_NUMAFLOW_SOCKETS": str(tmp_path / "absent")}
    done = run(["-m", "charon.cli.vertex", "log-sink"], variables)
    assert done.returncode == 1
    assert f"error: cannot serve at {tmp_path}/absent/sink.sock" in done.stderr
    assert "Traceback" not in done.stderr


def test_second_replica_of_image_sink_is_rejected(tmp_path):
    settings = EmbeddedSettings(vertex="image", replica=1, nats=NatsAddress())
    done = run(["-m", "charon.cli.vertex", "image-sink", "--output", str(tmp_path)], settings.to_environment())
    assert done.returncode == 2
    assert "error: vertex 'image': an image sink" in done.stderr
    assert "scale.min to 1" in done.stderr


def test_raw_excludes_a_model():
    settings = EmbeddedSettings(vertex="in", replica=0, nats=NatsAddress())
    command = ["-m", "charon.cli.vertex", "source", "--raw", "--model", "ptychonn2-sim"]
    done = run(command, settings.to_environment())
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --raw publishes frames unchanged: remove --model, or --raw to crop and bin for it"
    ]
