"""Commands for a cluster, with a script instead of kubectl."""

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
def _isolated(tmp_path, monkeypatch):
    """Isolate the tests from the user's records and clusters."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr("charon.adapters.kubernetes.kubeconfig.K3S_KUBECONFIG", tmp_path / "k3s.yaml")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """Return a function that installs a script as kubectl, with a kubeconfig, and returns the list of its calls."""
    (tmp_path / "config").write_text("{}")
    folder = tmp_path / "bin"
    folder.mkdir()
    calls = tmp_path / "calls"

    def install(body="exit 0"):
        path = folder / "kubectl"
        path.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n{body}\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
        return lambda: calls.read_text().splitlines() if calls.exists() else []

    return install


@pytest.fixture
def web():
    """Yield the address of an HTTP server and its responses by path."""
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
            """Log nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", pages
    server.shutdown()
    thread.join()
    server.server_close()


def read_output(capsys):
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_run_without_cluster_suggests_local(capsys):
    assert run_command(cli, ["run", str(APS / "numaflow-aps.yaml")]) == 2
    _, err = read_output(capsys)
    assert len(err.splitlines()) == 1
    assert "no cluster" in err
    assert "; to run on this machine, add --local; else set KUBECONFIG" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "x.yaml", "--output", "o"], "--output requires --local"),
        (["run", "x.yaml", "--buffer-mib", "5"], "--buffer-mib requires --local"),
        (["run", "x.yaml", "--local", "-n", "space"], "--local does not accept arguments of kubectl: -n space"),
        (["run", "x.yaml"], "x.yaml: No such file"),
        (["run", "ftp://host/x.yaml"], "unsupported URL; use a file, http:// or https://"),
        (["run", "http:///x.yaml"], "unsupported URL"),
        (["run", "http://me:secret-word@[::1/x.yaml"], "http://[::1/x.yaml: invalid URL"),
        (["run", "http://me:secret-word@host:port/x.yaml"], "http://host:port/x.yaml: invalid URL"),
        (["run", "ftp://me:secret-word@host/x.yaml"], "ftp://host/x.yaml: unsupported URL"),
        (["run", "/dev/zero"], "/dev/zero: larger than 16 MiB"),
        (["run", "x.yaml", "--timeout", "nan"], "--timeout"),
        (["run", "x.yaml", "--local", "--nats-port", "99999"], "--nats-port"),
        (["run", "x.yaml", "--local", "--buffer-mib", "-1"], "--buffer-mib"),
        (["stop", "p", "--timeout", "nan"], "--timeout"),
        (["stop", "p", "--timeout", "inf"], "--timeout"),
        (["stop", "p", "space", "--local"], "has no namespace"),
        (["stop", "p", "--local", "--no-drain"], "--no-drain requires a cluster"),
    ],
)
def test_invalid_call_is_one_line_and_status_2(capsys, kubectl, arguments, message):
    calls = kubectl()
    assert run_command(cli, arguments) == 2
    out, err = read_output(capsys)
    assert (out, len(err.splitlines())) == ("", 1)
    assert message in err
    assert "secret-word" not in err
    assert not any(call.startswith("apply") for call in calls())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Deployment", "contains Deployment; it must contain exactly one Pipeline"),
        ("{", "not valid YAML"),
        ("", "contains no object"),
    ],
)
def test_invalid_manifest_is_not_applied(capsys, kubectl, tmp_path, text, message):
    calls = kubectl()
    path = tmp_path / "p.yaml"
    path.write_text(text)
    assert run_command(cli, ["run", str(path)]) == 2
    assert message in read_output(capsys)[1]
    assert calls() == []


def test_downloaded_manifest_is_applied_unchanged(capsys, kubectl, web, tmp_path):
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


def test_failed_run_record_is_a_warning(capsys, kubectl, tmp_path):
    (tmp_path / "state").write_text("a file")
    kubectl("case $1 in get) echo 'Error from server (NotFound): no' >&2; exit 1;; esac")
    assert run_command(cli, ["run", str(APS / "numaflow-aps.yaml"), "--no-wait"]) == 0
    assert "warning: cannot write the record of the run" in read_output(capsys)[1]


def test_failed_download_is_one_line_and_status_1(capsys, kubectl, web):
    address, pages = web
    pages["/large"] = (200, b"#" * ((1 << 20) + 1))
    pages["/loop"] = (302, f"{address}/loop".encode())
    pages["/binary"] = (200, b"\xff\xfe\x00")
    kubectl()
    for path, message in {
        "/none": "HTTP status 404",
        "/large": "larger than 1 MiB",
        "/loop": "download failed",
        "/binary": "not valid YAML (not UTF-8 text)",
    }.items():
        assert run_command(cli, ["run", address + path]) == 1
        _, err = read_output(capsys)
        assert len(err.splitlines()) == 1
        assert message in err
        assert address + path in err
    assert run_command(cli, ["run", "http://me:secret-word@127.0.0.1:1/x.yaml"]) == 1
    assert "error: http://127.0.0.1:1/x.yaml: download failed" in read_output(capsys)[1]


def test_password_in_url_is_not_shown_or_stored(capsys, kubectl, web, tmp_path, caplog):
    address, pages = web
    pages["/a"] = (200, (APS / "numaflow-aps.yaml").read_bytes())
    pages["/.b"] = (200, b"kind: x")
    kubectl("case $1 in get) echo 'Error from server (NotFound): no' >&2; exit 1;; esac")
    caplog.set_level("DEBUG")
    url = address.replace("//", "//me:secret-word@")
    assert run_command(cli, ["run", f"{url}/a", "--no-wait"]) == 0
    assert run_command(cli, ["run", f"{url}/.b", "--local"]) == 2
    assert run_command(cli, ["run", f"{url}/.b"]) == 2
    stored = [path.read_text() for path in (tmp_path / "state").rglob("*.json")]
    assert stored
    assert "secret-word" not in "".join([*read_output(capsys), caplog.text, *stored])
    assert "HTTP Request" in caplog.text


@pytest.fixture
def local_run(tmp_path):
    """Write the run file of a local pipeline `p`."""
    file = RunFile("p")
    pid = psutil.Process().pid
    file.write(RunInfo("p", "p-1", pid, 1, "token", str(tmp_path), "p.yaml", time.time_ns(), []))
    yield
    file.close()


def test_local_run_has_priority_over_cluster(capsys, kubectl, local_run):
    calls = kubectl("[ $1 = config ] && exit 0; echo 'Error from server (NotFound): pipelines not found' >&2; exit 1")
    assert run_command(cli, ["status", "p"]) == 1
    assert "nats://127.0.0.1:1" in read_output(capsys)[1], "addresses the NATS server of the local run"
    assert calls() == []
    assert run_command(cli, ["status", "p", "--cluster"]) == 2
    assert "no pipeline 'p' in namespace" in read_output(capsys)[1]
    assert run_command(cli, ["status", "q"]) == 2
    assert "no pipeline 'q' in namespace" in read_output(capsys)[1]
    assert run_command(cli, ["stop", "q", "space"]) == 2
    assert "no pipeline 'q' in namespace space" in read_output(capsys)[1]


def test_several_pipelines_require_a_name(capsys, kubectl):
    kubectl('echo \'{"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}]}\'')
    assert run_command(cli, ["status", "--cluster"]) == 2
    assert "several pipelines in namespace" in read_output(capsys)[1]


def test_kubectl_receives_all_arguments(kubectl, capfd):
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
def test_signal_ends_the_command_and_its_kubectl(kubectl, number, arguments):
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
    out, _ = read_output(capsys)
    assert "v0  Released   n/c" in out
    assert "v1" not in out
    assert not any(call.startswith("patch") for call in calls())
    calls = kubectl(VOLUMES % "Bound")
    assert run_command(cli, ["reclaim"]) == 0
    assert "nothing to do" in read_output(capsys)[1]
    assert not any(call.startswith("patch") for call in calls())
    kubectl("echo '{\"items\": []}'")
    assert run_command(cli, ["reclaim"]) == 2
    assert "numaflow-storage-class.yaml" in read_output(capsys)[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply", "-f", "https://example.org/a/b.yaml"],
        ["apply", "--filename=https://example.org/a.yaml"],
        ["apply", "-f", "-"],
        ["apply", "-f", "./x/"],
        ["exec", "pod", "--", "sh", "-f", "workflows/aps/jetstream.yaml"],
    ],
)
def test_kubectl_receives_other_files_unchanged(kubectl, tmp_path, monkeypatch, arguments):
    calls = kubectl()
    monkeypatch.chdir(tmp_path)
    assert run_command(cli, ["kubectl", *arguments]) == 0
    assert calls() == [" ".join(arguments)]


def test_kubectl_receives_path_of_shipped_file(kubectl, tmp_path, monkeypatch, capfd):
    calls = kubectl()
    monkeypatch.chdir(tmp_path)
    assert run_command(cli, ["kubectl", "apply", "-f", "workflows/aps/jetstream.yaml"]) == 0
    (call,) = calls()
    assert call.startswith("apply -f /")
    assert call.endswith("/workflows/aps/jetstream.yaml")
    assert "using the copy shipped with Charon" in capfd.readouterr().err
