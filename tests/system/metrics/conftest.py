"""A real Prometheus that scrapes itself, a node exporter and a running pipeline; and a configurable HTTP server."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loopback import free_port, isolated_environment

ROOT = Path(__file__).parents[3]
CHARONCTL = (sys.executable, "-m", "charon.cli.main")


def fetch(url, **fields):
    """Return the body of a response."""
    query = f"?{urllib.parse.urlencode(fields)}" if fields else ""
    with urllib.request.urlopen(url + query, timeout=30) as response:  # noqa: S310 - the test's own server
        return response.read().decode()


def wait_until(condition, timeout_s=60.0, failure=""):
    """Wait until a condition holds; an OSError counts as not yet."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        try:
            if result := condition():
                return result
        except OSError:
            pass
        time.sleep(0.1)
    pytest.fail(f"timed out after {timeout_s} s: {failure}")


class Server:
    """A Prometheus server.

    Parameters
    ----------
    folder
        Folder of its configuration, data and log.
    targets
        Addresses by job, scraped every half second.
    """

    def __init__(self, folder, targets):
        self.folder = folder
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        jobs = {"prometheus": [f"127.0.0.1:{self.port}"], **targets}
        scrapes = [{"job_name": job, "static_configs": [{"targets": addresses}]} for job, addresses in jobs.items()]
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
        """Wait until the server responds."""
        wait_until(lambda: "Ready" in fetch(f"{self.url}/-/ready"), failure="Prometheus is not ready")

    def query_range(self, query, start, end, step):
        """Return Prometheus's own result of a range query."""
        response = fetch(f"{self.url}/api/v1/query_range", query=query, start=start, end=end, step=step)
        return json.loads(response)["data"]

    def query(self, query):
        """Return the current value of a query as text, or None."""
        result = json.loads(fetch(f"{self.url}/api/v1/query", query=query))["data"]["result"]
        return result[0]["value"][1] if result else None

    def version(self):
        """Return the server's version."""
        return json.loads(fetch(f"{self.url}/api/v1/status/buildinfo"))["data"]["version"]

    def stop(self):
        """Stop the server."""
        stop(self.process)
        self._log.close()


def stop(process):
    """Stop a process that a test started."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def require(program, package):
    """Return the path of a program; skip if it is not installed."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is missing; install the package {package}")
    return path


@pytest.fixture(scope="session")
def promtool():
    """Return the path of promtool."""
    return require("promtool", "prometheus")


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory):
    """Return the address of a node exporter."""
    exporter = require("prometheus-node-exporter", "prometheus-node-exporter")
    port = free_port()
    log = (tmp_path_factory.mktemp("node") / "log").open("wb")
    collectors = ["--collector.disable-defaults", "--collector.cpu", "--collector.meminfo", "--collector.loadavg"]
    process = subprocess.Popen(
        [exporter, f"--web.listen-address=127.0.0.1:{port}", *collectors],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    wait_until(lambda: fetch(f"http://127.0.0.1:{port}/metrics"), failure="the node exporter does not respond")
    yield f"127.0.0.1:{port}"
    stop(process)
    log.close()


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Return an environment with pvAccess on loopback and a free port, and a temporary state folder."""
    return isolated_environment(XDG_STATE_HOME=str(tmp_path_factory.mktemp("state")))


class Scraped:
    """A Prometheus that has scraped a pipeline while frames went through it."""

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
        """Wait for all frames and a few more scrapes, then stop the pipeline."""
        self.server.wait_ready()
        self.started = int(time.time())
        done = 'charon_run_frames{state="reconstructed"} == 240'
        try:
            wait_until(lambda: self.server.query(done), 90, f"not all frames were scraped: {self.log()}")
            self.text = fetch(f"http://127.0.0.1:{self.port}/metrics")
            time.sleep(2)
        finally:
            stop(self._detector)
            stop(self._run)
        self.ended = int(time.time())
        self.summary = json.loads((self.output / "summary.json").read_text())

    def log(self):
        """Return the log of the pipeline."""
        return Path(self._log.name).read_text(errors="replace")

    def stop(self):
        """Stop all processes."""
        for process in (self._detector, self._run):
            stop(process)
        self.server.stop()
        self._log.close()


@pytest.fixture(scope="session")
def scraped(tmp_path_factory, environment, node_exporter):
    """Return a Prometheus that has scraped a pipeline."""
    require("prometheus", "prometheus")
    scraped = Scraped(tmp_path_factory.mktemp("scraped"), environment, node_exporter)
    try:
        scraped.wait()
        yield scraped
    finally:
        scraped.stop()


@pytest.fixture
def http_server():
    """Return a function that starts an HTTP server; a callable returns the response for each path."""
    servers = []

    def start(respond):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                # An unread body would reset the connection.
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, kind, body = respond(self.path)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 - the base class's name

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
