"""Invalid calls, servers other than Prometheus, and interrupts: one line, the right status, no partial file."""

from __future__ import annotations

import csv
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from charon.adapters.prometheus.query import client, formats
from charon.cli.exit_status import run_command
from charon.cli.main import cli

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
CHARONCTL = (sys.executable, "-m", "charon.cli.main")
CLOSED = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch):
    """Keep run records in a temporary folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def call(capsys, *arguments):
    """Return (status, stdout, stderr) of charonctl metrics."""
    status = run_command(cli, ["metrics", *map(str, arguments)])
    return (status, *capsys.readouterr())


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "URL"),
        ([CLOSED], "--queries-file"),
        ([CLOSED, "--query", " "], "empty"),
        ([CLOSED, "--queries-file", "/nowhere/q.txt"], "/nowhere/q.txt"),
        (["localhost:9090", "--query", "up"], "HTTP(S)"),
        (["ftp://localhost/x", "--query", "up"], "HTTP(S)"),
        (["http://", "--query", "up"], "HTTP(S)"),
        (["http://[::1", "--query", "up"], "http://[::1"),
        (["http://localhost:99999", "--query", "up"], "invalid port 99999"),
        (["http://localhost:9090/graph?g0.expr=up", "--query", "up"], "has a query or a fragment"),
        ([CLOSED, "--query", "up", "--start", "yesterday"], "yesterday"),
        ([CLOSED, "--query", "up", "--start", "2025-08-18T14:47:57"], "zone"),
        (
            [CLOSED, "--query", "up", "--start", "2025-08-18T14:47:57Z", "--end", "2025-08-18T14:40:00Z"],
            "before the start",
        ),
        ([CLOSED, "--query", "up", "--step", "0"], "step"),
        ([CLOSED, "--query", "up", "--step", "-5s"], "step"),
        ([CLOSED, "--query", "up", "--step", "9" * 400], "step"),
        ([CLOSED, "--query", "up", "--start", "0", "--step", "1ms"], "longer step"),
        ([CLOSED, "--query", "up\udcff"], "UTF-8"),
        ([CLOSED, "--query", "up", "--format", "xml"], "xml"),
        ([CLOSED, "--query", "up", "--run", "unknown"], "unknown"),
        ([CLOSED, "--query", "up", "--namespace", 'a"}'], "Kubernetes name"),
        ([CLOSED, "--query", "up", "--list-metrics"], "--list-metrics"),
        ([CLOSED, "--colour"], "--colour"),
    ],
)
def test_invalid_call_is_one_line_and_status_2(capsys, arguments, text):
    status, out, err = call(capsys, *arguments)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert text in err


def responding(body, kind="application/json", status=200):
    return lambda _: (status, kind, body if isinstance(body, bytes) else json.dumps(body).encode())


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (responding(b"<html><h1>Grafana</h1></html>", "text/html; charset=utf-8"), "returned text/html"),
        (responding(b"Unauthorized", "text/plain", 401), "HTTP status 401"),
        (responding({"message": "not found"}, status=404), "not a Prometheus server"),
        (responding([1, 2]), "not a Prometheus server"),
        (responding(b""), "not a Prometheus server"),
        (
            responding({"status": "error", "errorType": "unavailable", "error": "starting up"}, status=503),
            "starting up",
        ),
    ],
)
def test_other_server_is_reported(capsys, tmp_path, http_server, response, text):
    url = http_server(response)
    for options in (["--query", "up", "--output", tmp_path / "new" / "x.json"], ["--list-metrics"]):
        status, out, err = call(capsys, url, *options)
        assert (status, out, len(err.splitlines())) == (1, "", 1), err
        assert text in err
        assert url in err
    assert not (tmp_path / "new").exists()


def test_closed_port_is_reported(capsys, tmp_path):
    status, out, err = call(capsys, CLOSED, "--query", "up", "--output", tmp_path / "new" / "x.json")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert CLOSED in err
    assert not (tmp_path / "new").exists()


def test_password_in_url_is_not_shown(capsys, tmp_path, http_server):
    requested = []

    def respond(path):
        requested.append(path)
        if path.startswith("/prom/api/v1/status/buildinfo"):
            return 404, "application/json", b'{"status":"error","errorType":"not_found","error":"old"}'
        data = {"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "1"]]}]}
        return 200, "application/json", json.dumps({"status": "success", "data": data, "warnings": ["w"]}).encode()

    url = http_server(respond).replace("http://", "http://user:secret-word@") + "/prom/"
    output = tmp_path / "x.json"
    status, out, err = call(capsys, url, "--query", "up", "--output", output)
    assert status == 0, err
    assert "secret-word" not in out + err + output.read_text()
    metadata = json.loads(output.read_text())["metadata"]
    assert metadata["prometheus"]["version"] == ""
    assert metadata["warnings"] == ["w"]
    assert "warning: w" in err
    assert all(path.startswith("/prom/api/v1/") for path in requested)
    status, out, err = call(capsys, "http://user:secret-word@127.0.0.1:9", "--query", "up")
    assert status == 1
    assert "secret-word" not in out + err


def prometheus(body=None):
    """Return the responses of a Prometheus server to any query."""
    result = [{"metric": {"__name__": "up"}, "values": [[1, "1"]]}] if body is None else body
    data = {"version": "2.42.0", "resultType": "matrix", "result": result}
    return responding({"status": "success", "data": data})


@pytest.mark.parametrize("path", ["folder", "below a file", "/proc/nothing/x.json"])
def test_invalid_output_is_reported(capsys, tmp_path, http_server, path):
    (tmp_path / "file").write_text("kept")
    output = {"folder": tmp_path, "below a file": tmp_path / "file" / "x.json"}.get(path, path)
    status, out, err = call(capsys, http_server(prometheus()), "--query", "up", "--output", output)
    assert (status, out, len(err.splitlines())) == (2, "", 1), err
    assert str(output) in err
    assert (tmp_path / "file").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_full_disk_leaves_no_partial_file(capsys, tmp_path, http_server, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    output = tmp_path / "x.json"
    output.write_text("before")
    monkeypatch.setattr(formats, "save_json", full)
    status, _, err = call(capsys, http_server(prometheus()), "--query", "up", "--output", output)
    assert (status, len(err.splitlines())) == (1, 1)
    assert "No space left" in err
    assert output.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_device_is_written_to_and_not_replaced(capsys, http_server):
    before = Path("/dev/null").stat()
    status, _, err = call(capsys, http_server(prometheus()), "--query", "up", "--output", "/dev/null")
    assert status == 0, err
    assert os.path.samestat(Path("/dev/null").stat(), before)


def test_output_dash_is_stdout(capsys, tmp_path, http_server, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = call(capsys, http_server(prometheus()), "--query", "up", "--output", "-", "--format", "csv")
    assert (status, out.splitlines()[0]) == (0, "query,metric,time,value")
    assert list(tmp_path.iterdir()) == []


def test_target_of_link_is_replaced(capsys, tmp_path, http_server):
    (tmp_path / "target.json").write_text("before")
    (tmp_path / "link.json").symlink_to(tmp_path / "target.json")
    assert call(capsys, http_server(prometheus()), "--query", "up", "--output", tmp_path / "link.json")[0] == 0
    assert (tmp_path / "link.json").is_symlink()
    assert '"up"' in (tmp_path / "target.json").read_text()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:secret-word@127.0.0.1",
        "http://user:secret-word@127.0.0.1:99999",
        "http://user:secret-word@127.0.0.1:9/?x=1",
        "http://user:secret-word@[::1",
        "http://user:secret-word/more@127.0.0.1:9",
    ],
)
def test_password_in_invalid_url_is_not_shown(capsys, url):
    status, out, err = call(capsys, url, "--query", "up")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "secret-word" not in err


def test_password_in_url_is_not_logged(http_server):
    url = http_server(prometheus()).replace("http://", "http://user:secret-word@")
    done = subprocess.run(
        [*CHARONCTL, "-v", "metrics", url, "--query", "up"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "HTTP Request" in done.stderr
    assert "httpcore" not in done.stderr
    assert "secret-word" not in done.stderr


@pytest.mark.parametrize(
    "body",
    [
        *({"a": 1}, [{"values": []}], [1], None),
        *([{"metric": {}, "values": values}] for values in ("abc", None, [[1, "2", "3"]], [["x", "2"]], [[1, 2]])),
        *([{"metric": {}, "values": [[at, "2"]]}] for at in (1e30, -1, float("nan"))),
        *([{"metric": metric, "values": [[1, "2"]]}] for metric in (["a"], {"a": 1})),
    ],
)
def test_invalid_response_fails_that_query(capsys, http_server, body):
    bad = {"status": "success", "data": {"version": "9", "result": body}}
    status, out, err = call(capsys, http_server(responding(bad)), "--query", "up")
    assert (status, out) == (1, "")
    assert "invalid matrix" in err


@pytest.mark.parametrize(("count", "listed"), [(10, True), (11, False)])
def test_many_empty_queries_are_only_counted(capsys, tmp_path, http_server, count, listed):
    (tmp_path / "queries.txt").write_text("".join(f"nothing_{k}\n" for k in range(count)))
    arguments = [
        "metrics",
        http_server(prometheus([])),
        "--queries-file",
        str(tmp_path / "queries.txt"),
        "--format",
        "csv",
    ]
    status, _, err = call(capsys, *arguments[1:])
    lines = err.splitlines()
    assert status == 0
    assert ("empty: nothing_3" in lines) == listed
    assert len(lines) == (count if listed else 1) + 2
    assert "-v metrics" in lines[0] or listed
    assert "no samples from" in lines[-1]
    assert run_command(cli, ["-v", *arguments]) == 0
    assert "empty: nothing_3" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize(("name", "shown"), [("x.JSON", "x.JSON;"), ("x.xlsx", "x.xlsx as json;")])
def test_format_is_shown_if_suffix_differs(capsys, tmp_path, http_server, name, shown):
    series = [{"metric": {"__name__": "up"}, "values": [[1, "1"]]}]
    status, _, err = call(capsys, http_server(prometheus(series)), "--query", "up", "--output", tmp_path / name)
    assert (status, len(err.splitlines())) == (0, 1)
    assert shown in err


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"status": "success", "data": {"version'])
def test_invalid_json_is_not_prometheus(capsys, http_server, body):
    for options in (["--query", "up"], ["--list-metrics"]):
        status, out, err = call(capsys, http_server(responding(body)), *options)
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert "not a Prometheus server" in err


def test_invalid_list_of_names_is_one_line(capsys, http_server):
    for data in (None, {"version": "2"}):
        url = http_server(responding({"status": "success", "data": data}))
        for options in ([], ["--format", "json"]):
            status, out, err = call(capsys, url, "--list-metrics", *options)
            assert (status, out, len(err.splitlines())) == (1, "", 1)
            assert "list of metric names" in err


def test_silent_server_times_out(capsys, monkeypatch):
    monkeypatch.setattr(client, "_STATUS_TIMEOUT", httpx.Timeout(0.3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for options in (["--query", "up"], ["--list-metrics"]):
            status, out, err = call(capsys, url, *options)
            assert (status, out, len(err.splitlines())) == (1, "", 1)
            assert "timed out" in err


def test_server_error_is_one_line(capsys, http_server):
    error = {"status": "error", "errorType": "bad", "error": "one\ntwo\x1b[31m"}
    status, _, err = call(capsys, http_server(responding(error, status=422)), "--query", "up")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "one two" in err
    assert "\x1b" not in err


def test_csv_quotes_special_characters_in_labels(capsys, http_server):
    labels = {"a": "x\ny", "b": "x\ry", "c": 'x"y', "d": "x,y", "time": "é", "value": "\ud800"}
    url = http_server(prometheus([{"metric": {"__name__": "up", **labels}, "values": [[1, "NaN"], [2, "+Inf"]]}]))
    output = Path(os.environ["XDG_STATE_HOME"]) / "x.csv"
    assert call(capsys, url, "--query", "up", "--output", output)[0] == 0
    with output.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["value"] for row in rows] == ["NaN", "+Inf"]
    for row in rows:
        assert [row[name] for name in "abcd"] == [labels[name] for name in "abcd"]
        assert (row["label_time"], row["label_value"]) == ("é", "?")


def test_native_histograms_are_saved_in_json_only(capsys, http_server):
    series = {"metric": {"__name__": "h"}, "histograms": [[1, {"count": "3", "sum": "4.5", "buckets": []}]]}
    status, out, _ = call(capsys, http_server(prometheus([series])), "--query", "h")
    assert status == 0
    assert json.loads(out)["queries"][0]["data"]["result"] == [series]
    status, out, err = call(capsys, http_server(prometheus([series])), "--query", "h", "--format", "csv")
    assert status == 0
    assert out.splitlines() == ["query,metric,time,value"]
    assert "native histograms" in err


def test_missing_pyarrow_is_one_line(capsys, tmp_path, monkeypatch, http_server):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    status, out, err = call(capsys, http_server(prometheus()), "--query", "up", "--output", tmp_path / "x.parquet")
    assert (status, out, len(err.splitlines())) == (1, "", 1)
    assert f"{sys.executable} -m pip install pyarrow" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_leaves_no_partial_file(tmp_path, http_server, number, expected):
    requested = []

    def respond(path):
        if path.startswith("/api/v1/query_range"):
            requested.append(path)
            time.sleep(60)
        return prometheus()(path)

    output = tmp_path / "out" / "x.json"
    output.parent.mkdir()
    output.write_text("before")
    command = [*CHARONCTL, "metrics", http_server(respond), "--query", "up", "--query", "b", "--output", str(output)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 30
        while len(requested) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        assert len(requested) == 2, "both queries run concurrently"
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == expected, err
    assert out == ""
    assert "Traceback" not in err
    assert output.read_text() == "before"
    assert [path.name for path in output.parent.iterdir()] == ["x.json"]


def test_terminal_shows_progress(tmp_path, http_server):
    def respond(path):
        time.sleep(0.1)
        return prometheus()(path)

    main, side = pty.openpty()
    command = [*CHARONCTL, "metrics", http_server(respond), "--output", str(tmp_path / "x.json")]
    queries = [argument for k in range(20) for argument in ("--query", f"up + {k}")]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen([*command, *queries], stderr=side, env=environment) as process:
        os.close(side)
        shown = b""
        try:
            while piece := os.read(main, 4096):
                shown += piece
        except OSError:
            pass  # the other end of the terminal is closed
        os.close(main)
        assert process.wait(30) == 0
    assert b"querying" in shown
    assert b"20 samples" in shown


def test_closed_pipe_ends_export_silently(http_server):
    series = [{"metric": {"k": str(k)}, "values": [[n, "1"] for n in range(2000)]} for k in range(100)]
    command = [*CHARONCTL, "metrics", http_server(prometheus(series)), "--query", "up"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.read(10) == b'{"metadata', process.stderr.read()
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(30) == 128 + signal.SIGPIPE
    assert err == b""
    with Path("/dev/full").open("wb") as stdout:
        full = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert full.returncode == 1
    assert "No space left" in full.stderr
    assert "Traceback" not in full.stderr


def test_metrics_port_in_use_is_reported(environment, tmp_path):
    manifest = Path(__file__).parents[3] / "workflows/aps/numaflow-aps-live.yaml"
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        port = used.getsockname()[1]
        command = [*CHARONCTL, "run", str(manifest), "--local", "--output", str(tmp_path / "out")]
        done = subprocess.run(
            [*command, "--metrics-port", str(port)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert f"port {port} of 127.0.0.1: Address already in use" in done.stderr
