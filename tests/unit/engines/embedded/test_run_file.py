"""Run files: how commands in another terminal find a run."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time

import psutil
import pytest

from charon.engines.embedded.run_file import RunFile, RunInfo, find_run, find_runs
from charon.errors import UsageError


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Keep run files in a temporary folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "charon" / "runs"


def info(pipeline="p", pid=None, started_ns=None):
    return RunInfo(
        pipeline, "p-1", pid or os.getpid(), 4222, "secret", "/out", "p.yaml", started_ns or time.time_ns(), ["in.0"]
    )


def test_run_file_is_found_and_private(state):
    run_file = RunFile("p")
    run_file.write(info())
    assert find_run("p") == find_run(None) == info(started_ns=find_run("p").started_ns)
    assert find_run("p").address.token == "secret"  # noqa: S105 - not a secret
    assert run_file.path.stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    run_file.close()
    assert find_runs() == []
    assert list(state.iterdir()) == []


def test_file_removed_while_opened_is_recreated(state, monkeypatch):
    first = RunFile("p")
    lock = fcntl.flock

    def remove_before_lock(file, how):
        monkeypatch.setattr(fcntl, "flock", lock)
        first.close()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", remove_before_lock)
    second = RunFile("p")
    assert second.path.exists()
    with pytest.raises(UsageError, match="already running"):
        RunFile("p")
    second.close()


def test_pipeline_runs_once(state):
    first = RunFile("p")
    first.write(info())
    with pytest.raises(UsageError, match=r"'p' is already running.*charonctl stop p"):
        RunFile("p")
    # The rejected run leaves the file of the first one unchanged.
    assert find_run("p").run == "p-1"
    RunFile("q").close()
    first.close()
    RunFile("p").close()


def test_files_of_ended_runs_are_ignored(state):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    state.mkdir(parents=True)
    documents = {
        "dead": json.dumps({**_fields(), "pid": gone.pid}),
        # Another process has this id now; it started after the file was written.
        "reused": json.dumps({**_fields(), "started_ns": 1}),
        "cut": '{"pipeline": "p"',
        "other": "[]",
        "empty": "",
    }
    for name, text in documents.items():
        (state / f"{name}.json").write_text(text)
    assert find_runs() == []
    with pytest.raises(UsageError, match="no pipeline is running on this machine"):
        find_run(None)
    # The file of an ended run does not prevent a new one.
    RunFile("dead").close()


def test_zombie_process_counts_as_ended(state):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    end = time.monotonic() + 20
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not info(pid=ended.pid).alive
    ended.wait()


def test_error_names_all_runs(state):
    files = [RunFile(name) for name in ("p", "q")]
    for run_file, name in zip(files, ("p", "q"), strict=True):
        run_file.write(info(name))
    with pytest.raises(UsageError, match="p, q; specify one"):
        find_run(None)
    with pytest.raises(UsageError, match="no pipeline 'x' is running on this machine; running: p, q"):
        find_run("x")
    for run_file in files:
        run_file.close()


def _fields():
    fields = info()
    return {name: getattr(fields, name) for name in fields.__dataclass_fields__}
