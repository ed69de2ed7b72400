"""A real Prometheus that scrapes itself, a node exporter and a running pipeline; and a server that stalls."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CHARONCTL = (sys.executable, "-m", "charon.cli.main")


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url, **fields):
    """Return what a URL answers."""
    query = f"?{urllib.parse.urlencode(fields)}" if fields else ""
    with urllib.request.urlopen(url + query, timeout=30) as answer:  # noqa: S310 - of the test's own
        return answer.read().decode()


def wait_until(condition, timeout_s=60.0, what=""):
    """Wait until a condition holds; what raises OSError is not there yet."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if found := condition():
                return found
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"in vain for {timeout_s} s: {what}")


class Server:
    """A Prometheus of the test's own.

    Parameters
    ----------
    folder
        Its configuration, data and log.
    targets
        What it scrapes every half second: addresses by job.
    """

    def __init__(self, folder, targets):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        jobs = {"prometheus": [f"127.0.0.1:{self.port}"], **targets}
        scrapes = [{"job_name": job, "static_configs": [{"targets": where}]} for job, where in jobs.items()]
        config = {"global": {"scrape_interval": "500ms", "scrape_timeout": "500ms"}, "scrape_configs": scrapes}
        (folder / "prometheus.yml").write_text(json.dumps(config))
        self._log = (folder / "prometheus.log").open("wb")
        command = [
            shutil.which("prometheus"),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=subprocess.STDOUT)

    def wait_ready(self):
        """Wait until it answers."""
        wait_until(lambda: "Ready" in fetch(f"{self.url}/-/ready"), what="the Prometheus is ready")

    def ask(self, query, start, end, step):
        """Return Prometheus's own answer over a span."""
        answer = fetch(f"{self.url}/api/v1/query_range", query=query, start=start, end=end, step=step)
        return json.loads(answer)["data"]

    def now(self, query):
        """Return the value of a query now, as text; None where there is none."""
        found = json.loads(fetch(f"{self.url}/api/v1/query", query=query))["data"]["result"]
        return found[0]["value"][1] if found else None

    def now_version(self):
        """Return its version."""
        return json.loads(fetch(f"{self.url}/api/v1/status/buildinfo"))["data"]["version"]

    def end(self):
        """End it."""
        end(self.process)
        self._log.close()


def end(process):
    """End a process that a test started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def need(program, package):
    """Skip where a program is not here."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not here: install the package {package}")


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory):
    """Return the address of a node exporter."""
    need("prometheus-node-exporter", "prometheus-node-exporter")
    port = free_port()
    log = (tmp_path_factory.mktemp("node") / "log").open("wb")
    only = ["--collector.disable-defaults", "--collector.cpu", "--collector.meminfo", "--collector.loadavg"]
    process = subprocess.Popen(
        [shutil.which("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}", *only],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: fetch(f"http://127.0.0.1:{port}/metrics"), what="the node exporter answers")
    yield f"127.0.0.1:{port}"
    end(process)
    log.close()


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Return an environment with pvAccess on loopback and its own port, and a state folder of its own."""
    port = str(free_port(socket.SOCK_DGRAM))
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EPICS_", "CHARON_"))}
    return kept | {
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_BROADCAST_PORT": port,
        "EPICS_PVAS_BROADCAST_PORT": port,
        "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")),
    }


class Scraped:
    """A Prometheus that has scraped a pipeline through which frames have gone."""

    def __init__(self, folder, environment, node_exporter):
        self.environment = environment
        self.output = folder / "out"
        self.port = free_port()
        self.server = Server(folder, {"node": [node_exporter], "charon": [f"127.0.0.1:{self.port}"]})
        manifest = str(ROOT / "workflows/aps/numaflow-aps-live.yaml")
        run = ["run", manifest, "--local", "--output", str(self.output), "--metrics-port", str(self.port), "--quiet"]
        detector = ["detector", "--wait-for-client", "--sample", "noise", "--points", "240", "--frame-rate", "30"]
        self._log = (folder / "run.log").open("wb")
        self._run = self._start(run)
        self._detector = self._start([*detector, "--report-period", "0"])

    def _start(self, arguments):
        return subprocess.Popen(
            [*CHARONCTL, *arguments], env=self.environment, stdout=self._log, stderr=subprocess.STDOUT
        )

    def wait(self):
        """Let all frames go through, and a few scrapes after them; then end the pipeline."""
        self.server.wait_ready()
        self.start = int(time.time())
        done = 'charon_run_frames{state="reconstructed"} == 240'
        try:
            wait_until(lambda: self.server.now(done), 90, f"all frames are scraped: {self.log()}")
            self.text = fetch(f"http://127.0.0.1:{self.port}/metrics")
            time.sleep(2)
        finally:
            end(self._detector)
            end(self._run)
        self.stop = int(time.time())
        self.summary = json.loads((self.output / "summary.json").read_text())

    def log(self):
        """Return what the pipeline has said."""
        return Path(self._log.name).read_text(errors="replace")

    def end(self):
        """End everything."""
        for process in (self._detector, self._run):
            end(process)
        self.server.end()
        self._log.close()


@pytest.fixture(scope="session")
def scraped(tmp_path_factory, environment, node_exporter):
    """Return a Prometheus that has scraped a pipeline."""
    need("prometheus", "prometheus")
    scraped = Scraped(tmp_path_factory.mktemp("scraped"), environment, node_exporter)
    try:
        scraped.wait()
        yield scraped
    finally:
        scraped.end()


@pytest.fixture
def answering():
    """Return a function that starts an HTTP server which answers each path as it is told."""
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                # A body that is not read would end the connection with a reset.
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, body = answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the library's name

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
