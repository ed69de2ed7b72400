"""Vertices as Numaflow starts them: one process and one folder for sockets each."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from loopback import isolated_environment

pytest.importorskip("pynumaflow", reason="pynumaflow is not installed: pip install pynumaflow")


@pytest.fixture
def environment():
    """Return an environment in which the test sees only its own detector."""
    return isolated_environment("NUMAFLOW_")


class Pod:
    """The container of one vertex."""

    def __init__(self, environment, log, vertex, replica, role, *options, **more):
        self.sockets = Path(tempfile.mkdtemp(prefix="nf-"))
        self.log_file = log
        self._environment = environment | {
            "NUMAFLOW_NAMESPACE": "default",
            "NUMAFLOW_POD": f"aps-{vertex}-{replica}-x",
            "NUMAFLOW_REPLICA": str(replica),
            "NUMAFLOW_PIPELINE_NAME": "aps",
            "NUMAFLOW_VERTEX_NAME": vertex,
            "CHARON_NUMAFLOW_SOCKETS": str(self.sockets),
            **{key: str(value) for key, value in more.items()},
        }
        self._command = [sys.executable, "-m", "charon.cli.vertex", role, *map(str, options)]
        self.process = self._start()

    def start(self):
        """Start the container again."""
        self.process = self._start()

    def _start(self):
        with self.log_file.open("ab") as log:
            return subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)

    def log(self):
        """Return the log."""
        return self.log_file.read_text(errors="replace")

    def terminate(self):
        """Send SIGTERM."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s=30.0):
        """Wait until the process ends and return its exit status."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout_s} s:\n{self.log()}")

    def logs(self, text, timeout_s=60.0):
        """Return whether the log contains a text within the timeout."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if text in self.log():
                return True
            time.sleep(0.05)
        return False

    def kill(self):
        """Send SIGKILL."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
def pods(environment, tmp_path):
    """Return a function that starts a vertex; the vertices are killed after the test."""
    started = []

    def start(vertex, role, *options, replica=0, **more):
        log = tmp_path / f"{vertex}.{replica}.{len(started)}.log"
        started.append(Pod(environment, log, vertex, replica, role, *options, **more))
        return started[-1]

    yield start
    for pod in started:
        pod.kill()
        shutil.rmtree(pod.sockets, ignore_errors=True)


@pytest.fixture
def detector(environment, tmp_path):
    """Return a function that starts a simulated detector."""
    started = []

    def start(*options):
        report = tmp_path / f"detector{len(started)}.json"
        log = (tmp_path / f"detector{len(started)}.log").open("wb")
        command = [sys.executable, "-m", "charon.cli.main", "detector", "--report", str(report)]
        command += map(str, options)
        started.append((subprocess.Popen(command, env=environment, stdout=log, stderr=log), log))
        return report

    yield start
    for process, log in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        log.close()
