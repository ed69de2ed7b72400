"""Records of runs are written completely, and found by name and time."""

from __future__ import annotations

import json

import pytest

from charon.cli import run_records
from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.engines.embedded.run_file import RunInfo
from charon.errors import UnavailableError, UsageError

S = 1_000_000_000
T0 = 1_755_528_477 * S
ACTIVE = RunInfo(
    pipeline="p", run="p-1", pid=1, port=4222, token="", output="", manifest="", started_ns=T0, replicas=[]
)


@pytest.fixture(autouse=True)
def clock(tmp_path, monkeypatch):
    """Return a function that sets the clock; records are written to the test's folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    now = {"ns": T0}
    monkeypatch.setattr(run_records.time, "time_ns", lambda: now["ns"])

    def at(seconds):
        now["ns"] = T0 + round(seconds * S)

    return at


def test_run_is_found_with_its_times(clock, tmp_path):
    started = run_records.record_start("ptychography", namespace="aps", engine="numaflow", manifest="x.yaml")
    assert run_records.find("ptychography") == started
    assert started.ended_ns is None
    clock(90)
    ended = run_records.record_end("ptychography", namespace="aps")
    assert ended is not None
    assert run_records.find("ptychography") == ended
    assert (ended.started_ns, ended.ended_ns) == (T0, T0 + 90 * S)
    assert run_records.record_end("ptychography") is None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 1
    document = json.loads(files[0].read_text())
    assert (document["start"], document["end"]) == ("2025-08-18T14:47:57Z", "2025-08-18T14:49:27Z")


def test_runs_of_same_name_are_distinguished(clock):
    for start in (0, 100, 200):
        clock(start)
        run_records.record_start("p", namespace="a" if start < 200 else "b", engine="numaflow")
        clock(start + 50)
        if start != 100:
            run_records.record_end("p")
    assert run_records.find("p").started_ns == T0 + 200 * S
    assert run_records.find("a/p").started_ns == T0 + 100 * S
    assert run_records.find("p@2025-08-18T14:48:00Z").started_ns == T0
    # The listed name identifies the run.
    for record in run_records.records("p"):
        assert run_records.find(f"p@{record.at}").started_ns == record.started_ns
    # The end of the second run was not recorded, and no later run of its namespace closes it.
    assert run_records.find("p@2025-08-18T14:49:50Z").ended_ns is None
    with pytest.raises(UsageError, match="no run of 'b/p' at"):
        run_records.find("b/p@2025-08-18T14:48:00Z")


def test_run_without_end_ends_when_next_starts(clock):
    run_records.record_start("p", engine="embedded")
    clock(60.5)
    run_records.record_start("p", engine="embedded")
    clock(70)
    assert run_records.find("p@2025-08-18T14:48:10Z").ended_ns == T0 + round(60.5 * S)
    ended = run_records.record_end("p")
    assert ended is not None
    assert ended.started_ns == T0 + round(60.5 * S)


def test_unknown_run_is_reported(clock, tmp_path):
    with pytest.raises(UsageError, match="no run is recorded yet"):
        run_records.find("p")
    run_records.record_start("other", engine="embedded")
    (tmp_path / "charon/runs/other/rubbish.json").write_text('{"name": 1')
    (tmp_path / "charon/runs/other/list.json").write_text("[1]")
    with pytest.raises(UsageError, match="recorded pipelines: other"):
        run_records.find("p")
    with pytest.raises(UsageError):
        run_records.find("../../etc")
    for name in ("", "a/b", "..", ".x", "a\n"):
        with pytest.raises(UsageError):
            run_records.record_start(name, engine="embedded")


def test_error_names_folder_that_is_not_writable(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(UnavailableError, match="file"):
        run_records.record_start("p", engine="embedded")


def test_list_runs_prints_start_and_end(clock, capsys):
    run_records.record_start("p", namespace="a", engine="numaflow")
    clock(10)
    run_records.record_end("p")
    run_records.record_start("q", engine="embedded")
    assert run_command(cli, ["metrics", "--list-runs"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "a/p@2025-08-18T14:47:57Z  numaflow  ended 2025-08-18T14:48:07Z",
        # This run was killed.
        "q@2025-08-18T14:48:07Z  embedded  ended unknown",
    ]
    assert run_command(cli, ["metrics", "--list-runs", "--format", "json"]) == 0
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["p", "q"]


def test_list_runs_reports_that_there_are_none(capsys):
    assert run_command(cli, ["metrics", "--list-runs"]) == 0
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "no recorded runs\n")


def test_list_runs_distinguishes_running_from_killed(clock, capsys, monkeypatch):
    run_records.record_start("p", engine="embedded")
    clock(10)
    run_records.record_start("p", engine="embedded")
    monkeypatch.setattr("charon.cli.metrics.listing.find_runs", lambda: [ACTIVE])
    assert run_command(cli, ["metrics", "--list-runs"]) == 0
    assert [line.split("ended ")[1] for line in capsys.readouterr().out.splitlines()] == ["unknown", "not yet"]


def test_metrics_warns_about_run_without_end(clock, capsys, monkeypatch):
    run_records.record_start("p", engine="embedded")
    clock(10)
    call = ["metrics", "http://127.0.0.1:9", "--query", "up", "--run", "p"]
    assert run_command(cli, call) == 1
    assert "p@2025-08-18T14:47:57Z has no recorded end" in capsys.readouterr().err
    assert run_command(cli, [*call, "--end", "2025-08-18T14:48:00Z"]) == 1
    assert "no recorded end" not in capsys.readouterr().err
    monkeypatch.setattr("charon.cli.metrics.listing.find_runs", lambda: [ACTIVE])
    assert run_command(cli, call) == 1
    assert "no recorded end" not in capsys.readouterr().err


def test_failed_write_leaves_no_file(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_records.json, "dump", full)
    with pytest.raises(UnavailableError, match="No space left"):
        run_records.record_start("p", engine="embedded")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_invalid_record_is_ignored(tmp_path):
    run_records.record_start("p", engine="embedded")
    (path,) = tmp_path.rglob("*.json")
    for key, value in (("started_ns", "x"), ("ended_ns", "x"), ("started_ns", None)):
        changed = {**json.loads(path.read_text()), key: value}
        path.with_name("0.json").write_text(json.dumps(changed))
        assert len(run_records.records()) == 1


def test_missing_home_names_the_variable(monkeypatch, capsys):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setattr(run_records.Path, "home", no_home)
    assert run_command(cli, ["metrics", "--list-runs"]) == 1
    error = "error: no home folder for Charon's state files; set XDG_STATE_HOME"
    assert capsys.readouterr().err.splitlines() == [error]
