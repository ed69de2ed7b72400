"""The commands on a cluster, with a script in place of kubectl: wrong calls, manifests from the web, where to look."""

from __future__ import annotations

import http.server
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.engines.embedded.run_file import RunFile, RunInfo

APS = Path(__file__).parents[3] / "workflows" / "aps"


@pytest.fixture(autouse=True)
def _apart(tmp_path, monkeypatch):
    """Keep what is written down, and any cluster of the user's, out of it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("charon.adapters.kubernetes.kubeconfig.K3S_KUBECONFIG", tmp_path / "k3s.yaml")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Return a function that puts a script in kubectl's place, for a cluster that is known; it notes its calls."""
    (tmp_path / "config").write_text("{}")
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"

    def put(body="exit 0"):
        path = folder / "kubectl"
        path.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        return lambda: calls.read_text().splitlines() if calls.exists() else []

    return put


@pytest.fixture
def web():
    """Give the address of a server of HTTP, and what it serves by path."""
    pages = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = pages.get(self.path, (404, b""))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", body.decode())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def told(capsys):
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_run_without_a_cluster_names_the_other_way(capsys):
    assert run_command(cli, ["run", str(APS / "numaflow-aps.yaml")]) == 2
    _, err = told(capsys)
    assert len(err.splitlines()) == 1
    assert "no cluster" in err
    assert "add --local" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "x.yaml", "--output", "o"], "--output is for runs on this machine: add --local"),
        (["run", "x.yaml", "--buffer-mib", "5"], "--buffer-mib is for runs on this machine"),
        (["run", "x.yaml", "--local", "-n", "space"], "--local takes no arguments for kubectl: -n space"),
        (["run", "x.yaml"], "x.yaml: No such file"),
        (["run", "ftp://host/x.yaml"], "a manifest is read from a file, or from a URL with http"),
        (["run", "http:///x.yaml"], "a manifest is read from a file"),
        (["run", "http://me:secret-word@[::1/x.yaml"], "http://[::1/x.yaml is no URL"),
        (["run", "http://me:secret-word@host:port/x.yaml"], "http://host:port/x.yaml is no URL"),
        (["run", "ftp://me:secret-word@host/x.yaml"], "ftp://host/x.yaml: a manifest is read"),
        (["run", "/dev/zero"], "/dev/zero is larger than 16 MiB"),
        (["run", "x.yaml", "--timeout", "nan"], "--timeout"),
        (["run", "x.yaml", "--local", "--nats-port", "99999"], "--nats-port"),
        (["run", "x.yaml", "--local", "--buffer-mib", "-1"], "--buffer-mib"),
        (["stop", "p", "--timeout", "nan"], "--timeout"),
        (["stop", "p", "--timeout", "inf"], "--timeout"),
        (["stop", "p", "space", "--local"], "has no namespace"),
        (["stop", "p", "--local", "--no-drain"], "--no-drain is for a cluster"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(capsys, kubectl, arguments, words):
    calls = kubectl()
    assert run_command(cli, arguments) == 2
    out, err = told(capsys)
    assert (out, len(err.splitlines())) == ("", 1)
    assert words in err
    assert "secret-word" not in err
    assert not any(call.startswith("apply") for call in calls())


@pytest.mark.parametrize(
    ("text", "words"),
    [("kind: Deployment", "holds Deployment; one Pipeline is needed"), ("{", "is no YAML"), ("", "holds nothing")],
)
def test_what_is_no_pipeline_never_reaches_the_cluster(capsys, kubectl, tmp_path, text, words):
    calls = kubectl()
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert run_command(cli, ["run", str(path)]) == 2
    assert words in told(capsys)[1]
    assert calls() == []


def test_a_manifest_from_the_web_is_applied_as_it_is(capsys, kubectl, web, tmp_path):
    address, pages = web
    manifest = (APS / "numaflow-aps.yaml").read_bytes()
    pages["/a"] = (302, f"{address}/b".encode())
    pages["/b"] = (200, manifest)
    applied = tmp_path / "applied"
    calls = kubectl(
        f"case \"$1\" in apply) cat > {applied};; get) echo 'Error from server (NotFound): no' >&2; exit 1;; esac"
    )
    assert run_command(cli, ["run", f"{address}/a", "-n", "space", "--server-side", "--no-wait"]) == 0
    assert applied.read_bytes() == manifest
    (apply,) = [call for call in calls() if call.startswith("apply")]
    assert apply.split()[:5] == ["apply", "--filename=-", "--server-side", "-n", "space"]
    (record,) = (tmp_path / "state" / "charon" / "runs" / "ptychography").glob("*.json")
    assert f'"manifest": "{address}/a"' in record.read_text()
    assert '"namespace": "space"' in record.read_text()


def test_a_run_that_cannot_be_written_down_goes_on(capsys, kubectl, tmp_path):
    (tmp_path / "state").write_text("in the way")
    kubectl("case $1 in get) echo 'Error from server (NotFound): no' >&2; exit 1;; esac")
    assert run_command(cli, ["run", str(APS / "numaflow-aps.yaml"), "--no-wait"]) == 0
    assert "warning: the run cannot be written down" in told(capsys)[1]


def test_a_url_that_fails_is_one_line_and_status_1(capsys, kubectl, web):
    address, pages = web
    pages["/large"] = (200, b"#" * ((1 << 20) + 1))
    pages["/round"] = (302, f"{address}/round".encode())
    pages["/binary"] = (200, b"\xff\xfe\x00")
    kubectl()
    for path, words in {
        "/none": "answers with 404",
        "/large": "is larger than 1 MiB",
        "/round": "cannot be read",
        "/binary": "is no text",
    }.items():
        assert run_command(cli, ["run", address + path]) == 1
        _, err = told(capsys)
        assert len(err.splitlines()) == 1
        assert words in err
        assert address + path in err
    assert run_command(cli, ["run", "http://me:secret-word@127.0.0.1:1/x.yaml"]) == 1
    assert "error: http://127.0.0.1:1/x.yaml cannot be read" in told(capsys)[1]


def test_a_password_in_a_manifest_s_url_is_neither_told_nor_written_down(capsys, kubectl, web, tmp_path, caplog):
    address, pages = web
    pages["/a"] = (200, (APS / "numaflow-aps.yaml").read_bytes())
    pages["/.b"] = (200, b"kind: x")
    kubectl("case $1 in get) echo 'Error from server (NotFound): no' >&2; exit 1;; esac")
    caplog.set_level("DEBUG")
    url = address.replace("//", "//me:secret-word@")
    assert run_command(cli, ["run", f"{url}/a", "--no-wait"]) == 0
    assert run_command(cli, ["run", f"{url}/.b", "--local"]) == 2
    assert run_command(cli, ["run", f"{url}/.b"]) == 2
    kept = [path.read_text() for path in (tmp_path / "state").rglob("*.json")]
    assert kept
    assert "secret-word" not in "".join([*told(capsys), caplog.text, *kept])
    assert "HTTP Request" in caplog.text


@pytest.fixture
def here(tmp_path):
    """Let a pipeline of the name `p` run on this machine, as far as its run file says."""
    file = RunFile("p")
    pid = psutil.Process().pid
    file.write(RunInfo("p", "p-1", pid, 1, "token", str(tmp_path), "p.yaml", time.time_ns(), []))
    yield
    file.close()


def test_what_runs_here_goes_before_the_cluster(capsys, kubectl, here):
    calls = kubectl("[ $1 = config ] && exit 0; echo 'Error from server (NotFound): pipelines not found' >&2; exit 1")
    assert run_command(cli, ["status", "p"]) == 1
    assert "nats://127.0.0.1:1" in told(capsys)[1], "the run's own server was asked"
    assert calls() == []
    assert run_command(cli, ["status", "p", "--cluster"]) == 2
    assert "no pipeline 'p' in namespace" in told(capsys)[1]
    assert run_command(cli, ["status", "q"]) == 2
    assert "no pipeline 'q' in namespace" in told(capsys)[1]
    assert run_command(cli, ["stop", "q", "space"]) == 2
    assert "no pipeline 'q' in namespace space" in told(capsys)[1]


def test_several_pipelines_have_to_be_named(capsys, kubectl):
    kubectl('echo \'{"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}\'')
    assert run_command(cli, ["status", "--cluster"]) == 2
    assert "several pipelines are in namespace" in told(capsys)[1]


def test_kubectl_gets_all_that_follows(kubectl, capfd):
    calls = kubectl("exit 9")
    assert run_command(cli, ["kubectl", "get", "pods", "--help", "-v", "--", "-x"]) == 9
    assert calls() == ["get pods --help -v -- -x"]


VOLUMES = """cat <<'END'
{"items": [
 {"metadata": {"name": "v0"}, "spec": {"storageClassName": "charon-local", "hostPath": {"path": "/d/0"},
  "claimRef": {"namespace": "n", "name": "c"}}, "status": {"phase": "%s"}},
 {"metadata": {"name": "v1"}, "spec": {"storageClassName": "other"}, "status": {"phase": "Released"}}]}
END
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("arguments", [["reclaim"], ["status", "p", "space"], ["kubectl", "get", "pods"]])
def test_who_is_told_to_end_leaves_no_kubectl_behind(kubectl, number, arguments):
    kubectl("exec sleep 60")
    with subprocess.Popen([sys.executable, "-m", "charon.cli.main", *arguments]) as command:
        children = []
        deadline = time.monotonic() + 20
        while not children and time.monotonic() < deadline:
            time.sleep(0.05)
            children = [child for child in psutil.Process(command.pid).children() if child.name() == "sleep"]
        command.send_signal(number)
        assert command.wait(10) == 128 + number
    assert children
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_reclaim_affects_only_its_storage_class(capsys, kubectl):
    calls = kubectl(VOLUMES % "Released")
    assert run_command(cli, ["reclaim", "--dry-run"]) == 0
    out, _ = told(capsys)
    assert "v0  Released   n/c" in out
    assert "v1" not in out
    assert not any(call.startswith("patch") for call in calls())
    calls = kubectl(VOLUMES % "Bound")
    assert run_command(cli, ["reclaim"]) == 0
    assert "nothing to do" in told(capsys)[1]
    assert not any(call.startswith("patch") for call in calls())
    kubectl("echo '{\"items\": []}'")
    assert run_command(cli, ["reclaim"]) == 2
    assert "numaflow-storage-class.yaml" in told(capsys)[1]
