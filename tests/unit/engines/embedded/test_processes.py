"""What dies is started again, what keeps dying is given up, and nothing outlives its supervisor."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from charon.engines.embedded.processes import Process
from charon.engines.embedded.run_file import RunFile, RunInfo, find_run, find_runs
from charon.errors import UsageError


@pytest.fixture
def started(tmp_path):
    """Return a function that starts a Python program under supervision."""
    processes = []

    def start(code):
        process = Process("cat.0", [sys.executable, "-c", code], dict(os.environ), tmp_path / "cat-0.log")
        processes.append(process)
        process.start()
        return process

    yield start
    for process in processes:
        process.kill()


def tend_until(process, condition, seconds=20.0):
    """Look after a process until a condition holds; return what was told."""
    end = time.monotonic() + seconds
    told = []
    while not condition():
        assert time.monotonic() < end, told
        told.append(process.supervise(most_deaths=3))
        time.sleep(0.01)
    return [line for line in told if line]


def test_what_dies_is_started_again_under_another_id(started):
    process = started("import time; time.sleep(60)")
    first = process.pid
    assert process.supervise() is None
    os.kill(first, signal.SIGKILL)
    told = tend_until(process, lambda: process.restarts == 1)
    assert process.pid not in {None, first}
    assert told == ["cat.0 ended by SIGKILL; starting it again in 0.1 s"]
    assert not process.failure


def test_what_keeps_dying_is_given_up_with_its_last_words(started):
    process = started("import sys; sys.exit('no room\\nerror: the disk is full')")
    told = tend_until(process, lambda: process.failure)
    assert process.failure == "cat.0 ended with status 1: error: the disk is full"
    # Each time it is waited for longer.
    assert [line.rpartition(" in ")[2] for line in told] == ["0.1 s", "0.2 s"]
    assert process.supervise() is None
    assert process.pid is None


def test_what_was_called_wrongly_is_given_up_at_once(started):
    process = started("import sys; print('error: no model x', file=sys.stderr); sys.exit(2)")
    tend_until(process, lambda: process.failure)
    assert process.failure == "cat.0 ended with status 2: error: no model x"
    assert process.restarts == 0


def test_what_was_told_to_end_is_not_started_again(started):
    process = started("import time; time.sleep(60)")
    process.terminate()
    assert asyncio.run(process.ends_within(20)) is True
    assert process.supervise() is None
    assert process.pid is None
    assert process.restarts == 0


def test_what_does_not_end_is_ended_hard(started, tmp_path):
    process = started(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    pid = process.pid
    tend_until(process, lambda: b"deaf" in (tmp_path / "cat-0.log").read_bytes())
    process.terminate()
    assert asyncio.run(process.ends_within(0.3)) is False
    assert psutil.pid_exists(pid)
    process.kill()
    assert not psutil.pid_exists(pid)


SUPERVISOR = """
import os, sys, time
from pathlib import Path
from charon.engines.embedded.processes import Process
child = Process("cat.0", [sys.executable, "-c", "import time; time.sleep(120)"], dict(os.environ), Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
time.sleep(120)
"""


def test_a_process_does_not_outlive_a_supervisor_that_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        child = psutil.Process(int(supervisor.stdout.readline()))
        assert child.is_running()
        supervisor.kill()
    try:
        child.wait(20)
    except psutil.TimeoutExpired:
        # Nobody may be there to collect it; dead it is.
        assert child.status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def state(tmp_path, monkeypatch):
    """Keep run files in a folder of the test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "charon" / "runs"


def info(pipeline="p", pid=None, started_ns=None):
    return RunInfo(
        pipeline, "p-1", pid or os.getpid(), 4222, "secret", "/out", "p.yaml", started_ns or time.time_ns(), ["in.0"]
    )


def test_a_run_is_found_and_its_file_is_for_its_owner_alone(state):
    run_file = RunFile("p")
    run_file.write(info())
    assert find_run("p") == find_run(None) == info(started_ns=find_run("p").started_ns)
    assert find_run("p").address.token == "secret"  # noqa: S105 - no secret of anybody's
    assert run_file.path.stat().st_mode & 0o777 == 0o600
    assert state.stat().st_mode & 0o777 == 0o700
    run_file.close()
    assert find_runs() == []
    assert list(state.iterdir()) == []


def test_a_file_that_was_taken_away_while_it_was_opened_is_made_again(state, monkeypatch):
    first = RunFile("p")
    lock = fcntl.flock

    def too_late(file, how):
        monkeypatch.setattr(fcntl, "flock", lock)
        first.close()
        lock(file, how)

    monkeypatch.setattr(fcntl, "flock", too_late)
    second = RunFile("p")
    assert second.path.exists()
    with pytest.raises(UsageError, match="runs already"):
        RunFile("p")
    second.close()


def test_a_pipeline_runs_once(state):
    first = RunFile("p")
    first.write(info())
    with pytest.raises(UsageError, match=r"'p' runs already.*charonctl stop p"):
        RunFile("p")
    # The one that was refused leaves the other's file as it was.
    assert find_run("p").run == "p-1"
    RunFile("q").close()
    first.close()
    RunFile("p").close()


def test_files_of_runs_that_are_over_are_passed_over(state):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    state.mkdir(parents=True)
    documents = {
        "dead": json.dumps({**_fields(), "pid": gone.pid}),
        # The process has this id now, and began after the file was written.
        "reused": json.dumps({**_fields(), "started_ns": 1}),
        "cut": '{"pipeline": "p"',
        "other": "[]",
        "empty": "",
    }
    for name, text in documents.items():
        (state / f"{name}.json").write_text(text)
    assert find_runs() == []
    with pytest.raises(UsageError, match="no pipeline runs here"):
        find_run(None)
    # What a dead run left does not keep another from starting.
    RunFile("dead").close()


def test_a_run_whose_process_nobody_has_collected_is_over(state):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    end = time.monotonic() + 20
    while psutil.Process(ended.pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert not info(pid=ended.pid).alive
    ended.wait()


def test_several_runs_are_named(state):
    files = [RunFile(name) for name in ("p", "q")]
    for run_file, name in zip(files, ("p", "q"), strict=True):
        run_file.write(info(name))
    with pytest.raises(UsageError, match="p, q; name one"):
        find_run(None)
    with pytest.raises(UsageError, match="no pipeline 'x' runs here; running: p, q"):
        find_run("x")
    for run_file in files:
        run_file.close()


def _fields():
    found = info()
    return {name: getattr(found, name) for name in found.__dataclass_fields__}
