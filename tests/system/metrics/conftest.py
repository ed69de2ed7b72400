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

    def query(self, query, at_s=None):
        """Return the value of a query now or at a time, as text, or None."""
        time_field = {} if at_s is None else {"time": at_s}
        result = json.loads(fetch(f"{self.url}/api/v1/query", query=query, **time_field))["data"]["result"]
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


# The final state was scraped without a gap for 1.5 s, so that a query with a step of 1 s returns it.
COMPLETE = """count_over_time((
    sum(charon_run_frames{state="reconstructed"}) == 240
    and sum(charon_frames_total{vertex="image", state="reconstructed"}) == 240
    and sum(charon_latency_seconds_count{vertex="image", since="detector"}) == 240
)[1500ms:100ms]) >= 15"""


class Scraped:
    """A Prometheus that has scraped a pipeline while frames went through it.

    Prometheus scrapes nothing in its first 5 s. It and the node exporter were scraped at `started`, before the pipeline
    was started; the pipeline had been stopped at `ended`. Both are whole seconds since 1970, and no sample between them
    is added later.
    """

    def __init__(self, folder, environment, node_exporter):
        self.environment = environment
        self.output = folder / "out"
        self.port = free_port()
        self.server = Server(folder, {"node": [node_exporter], "charon": [f"127.0.0.1:{self.port}"]})
        self._log = (folder / "run.log").open("wb")
        self._processes = []

    def run(self):
        """Run a pipeline until its final state has been scraped."""
        manifest = str(ROOT / "workflows/aps/numaflow-aps-live.yaml")
        options = ("--output", str(self.output), "--metrics-port", str(self.port), "--quiet")
        detector = ("detector", "--wait-for-client", "--sample", "noise", "--points", "240", "--frame-rate", "60")
        try:
            self._start(*detector, "--report-period", "0")
            self.server.wait_ready()
            self.started = self._wait_for_second('count(up{job!="charon"} == 1) == 2')
            self._start("run", manifest, "--local", *options)
            wait_until(lambda: self.server.query(COMPLETE), 90, f"not all frames were scraped: {self.log()}")
            self.text = fetch(f"http://127.0.0.1:{self.port}/metrics")
        finally:
            self._stop_pipeline()
        self.ended = self._wait_for_second('up{job="prometheus"} == 1', int(time.time()))
        self.summary = json.loads((self.output / "summary.json").read_text())

    def _start(self, *arguments):
        command = [*CHARONCTL, *arguments]
        process = subprocess.Popen(command, env=self.environment, stdout=self._log, stderr=subprocess.STDOUT)
        self._processes.append(process)

    def _stop_pipeline(self):
        for process in reversed(self._processes):
            stop(process)

    def _wait_for_second(self, query, earliest=0):
        """Wait for a second whose samples are complete; the query has a result throughout the second before it."""
        throughout = f"count_over_time(({query})[1s:100ms]) >= 10"

        def find():
            # A target is scraped again only when its previous scrape is stored.
            second = int(float(self.server.query("min(timestamp(up))") or 0))
            return second if second >= earliest and self.server.query(throughout, second) else None

        return wait_until(find, failure=query)

    def log(self):
        """Return the log of the pipeline."""
        return Path(self._log.name).read_text(errors="replace")

    def stop(self):
        """Stop all processes."""
        self._stop_pipeline()
        self.server.stop()
        self._log.close()


@pytest.fixture(scope="session")
def scraped(tmp_path_factory, environment, node_exporter):
    """Return a Prometheus that has scraped a pipeline."""
    require("prometheus", "prometheus")
    scraped = Scraped(tmp_path_factory.mktemp("scraped"), environment, node_exporter)
    try:
        scraped.run()
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
