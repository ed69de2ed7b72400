"""Pipelines on the embedded engine with a simulated detector, started as a user would start them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml

from loopback import isolated_environment

ROOT = Path(__file__).parents[3]
CHARONCTL = (sys.executable, "-m", "charon.cli.main")


@pytest.fixture
def environment(tmp_path):
    """Return an isolated environment: pvAccess on loopback with a free port, and a temporary state folder."""
    return isolated_environment(XDG_STATE_HOME=str(tmp_path / "state"))


class Live:
    """A pipeline in a process of ``charonctl run --local``."""

    def __init__(self, environment, folder, manifest, *options):
        self.environment = environment
        self.output = folder
        self._log = (folder.parent / f"{folder.name}.log").open("wb")
        command = [*CHARONCTL, "run", str(manifest), "--local", "--output", str(folder), *options]
        self.process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=subprocess.STDOUT)
        self._children = []
        self.report = folder.parent / f"{folder.name}.detector.json"

    def log(self):
        """Return its output."""
        return Path(self._log.name).read_text(errors="replace")

    def ctl(self, *arguments):
        """Run another charonctl command in the same environment."""
        return subprocess.run(
            [*CHARONCTL, *arguments], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )

    def status(self):
        """Return the status, or None if the pipeline is not running."""
        done = self.ctl("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def wait_for(self, condition, timeout_s=90.0):
        """Wait until `condition(status)` is true, and return that status."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log()
            status = self.status()
            if status is not None and condition(status):
                return status
        pytest.fail(f"condition not met after {timeout_s} s: {json.dumps(status)[:2000]}\n{self.log()}")

    def wait_ready(self):
        """Wait until every vertex is ready, and return the status."""
        ready = {"running", "waiting-for-channel"}
        return self.wait_for(lambda s: s["replicas"] and all(r["state"] in ready for r in s["replicas"].values()))

    def pids(self):
        """Return the ids of all its child processes."""
        return {child.pid for child in psutil.Process(self.process.pid).children(recursive=True)}

    def pid(self, replica):
        """Return the process id of a replica."""
        status = self.status()
        assert status is not None, self.log()
        return status["replicas"][replica]["pid"]

    def server_pid(self):
        """Return the process id of its nats-server."""
        children = psutil.Process(self.process.pid).children()
        return next(child.pid for child in children if child.name() == "nats-server")

    def detector(self, *options):
        """Start a detector that publishes when the pipeline is connected."""
        command = [*CHARONCTL, "detector", "--wait-for-client", "--report", str(self.report), *map(str, options)]
        child = subprocess.Popen(command, env=self.environment, stdout=self._log, stderr=subprocess.STDOUT)
        self._children.append(child)
        return child

    def finish(self, timeout_s=90.0):
        """Drain the pipeline when its detectors have exited, and return its summary."""
        for child in self._children:
            child.wait(timeout_s)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout_s)
        return json.loads((self.output / "summary.json").read_text())

    def end(self):
        """Kill all remaining processes."""
        for child in [*self._children, self.process]:
            if child.poll() is None:
                child.kill()
            child.wait()
        self._log.close()


@pytest.fixture
def live(environment, tmp_path):
    """Return a function that starts a pipeline, which ends with the test."""
    started = []

    def start(manifest, *options, folder="out"):
        run = Live(environment, tmp_path / folder, manifest, *options)
        started.append(run)
        return run

    yield start
    for run in started:
        run.end()


@pytest.fixture
def manifest(tmp_path):
    """Return a function that writes the live pipeline's manifest with different arguments for its vertices."""

    def write(name="pipeline.yaml", sinks=("image",), **arguments):
        documents = yaml.safe_load_all((ROOT / "workflows/aps/numaflow-aps-live.yaml").read_text())
        document = next(document for document in documents if document["kind"] == "Pipeline")
        spec = document["spec"]
        dropped = {"image", "out"} - set(sinks)
        spec["vertices"] = [v for v in spec["vertices"] if v["name"] not in dropped]
        spec["edges"] = [e for e in spec["edges"] if e["to"] not in dropped]
        for vertex in spec["vertices"]:
            if vertex["name"] in arguments:
                kind = vertex.get("source") or vertex.get("udf") or vertex.get("sink")
                container = kind.get("container") or next(iter(kind.values()))["container"]
                container["args"] = [str(a) for a in arguments[vertex["name"]]]
        path = tmp_path / name
        path.write_text(yaml.safe_dump(document))
        return path

    return write
