"""Fixture: the baseline with PvaPy's programs, next to a detector, on loopback and free ports."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest

from loopback import isolated_environment

CHARONCTL = (sys.executable, "-m", "charon.cli.main")


class BaselineRun:
    """``charonctl baseline --local`` in a process of its own."""

    def __init__(self, folder, *options):
        self.environment = isolated_environment(XDG_STATE_HOME=str(folder / "state"))
        self.output = folder / "out"
        self.log = folder / "log"
        command = [*CHARONCTL, "baseline", "--local", "--metrics-port", "0", "--output", str(self.output), *options]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.wait_for_log("metrics: ")
        self.children = psutil.Process(self.process.pid).children(recursive=True)

    def wait_for_log(self, text, timeout_s=90):
        """Wait until the log contains a text."""
        self.wait(lambda: text in self.log.read_text(), timeout_s)

    def wait(self, condition, timeout_s=90):
        """Wait for a condition while the process runs."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    @staticmethod
    def detector_command(*options):
        """Return the command of a detector."""
        return [*CHARONCTL, "detector", "--sample", "noise", *options]

    def detect(self, *options):
        """Publish frames and return the detector's report."""
        report = self.output / "detector.json"
        command = self.detector_command("--report", str(report), *options)
        subprocess.run(command, env=self.environment, check=True, timeout=90, capture_output=True)
        return json.loads(report.read_text())

    def metrics(self):
        """Return the page of metrics."""
        (address,) = re.findall(r"metrics: (http\S+)", self.log.read_text())
        with urllib.request.urlopen(address, timeout=30) as response:  # noqa: S310 - an address on loopback
            return response.read().decode()

    def end(self, number=signal.SIGTERM):
        """End the run with a signal; return its summary."""
        self.process.send_signal(number)
        self.process.wait(90)
        return json.loads((self.output / "summary.json").read_text())

    def has_no_process(self):
        """Return whether all processes of the run have ended."""
        _, alive = psutil.wait_procs(self.children, timeout=30)
        return [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def start_baseline(tmp_path):
    runs = []

    def start(*options):
        runs.append(BaselineRun(tmp_path, *options))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.kill()
            run.process.wait()
