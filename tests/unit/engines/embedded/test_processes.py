"""Supervised processes are restarted with back-off and do not outlive their supervisor."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from charon.engines.embedded.processes import Process


@pytest.fixture
def started(tmp_path):
    """Return a function that starts a supervised Python program."""
    processes = []

    def start(code):
        process = Process("cat.0", [sys.executable, "-c", code], dict(os.environ), tmp_path / "cat-0.log")
        processes.append(process)
        process.start()
        return process

    yield start
    for process in processes:
        process.kill()


def supervise_until(process, condition, seconds=20.0):
    """Supervise a process until a condition holds, and return the messages."""
    end = time.monotonic() + seconds
    messages = []
    while not condition():
        assert time.monotonic() < end, messages
        messages.append(process.supervise(max_exits=3))
        time.sleep(0.01)
    return [line for line in messages if line]


def test_killed_process_is_restarted(started):
    process = started("import time; time.sleep(60)")
    first = process.pid
    assert process.supervise() is None
    os.kill(first, signal.SIGKILL)
    messages = supervise_until(process, lambda: process.restarts == 1)
    assert process.pid not in {None, first}
    assert messages == ["cat.0 was killed by SIGKILL; restarting in 0.1 s"]
    assert not process.failure


def test_failing_process_is_not_restarted_forever(started):
    process = started("import sys; sys.exit('warning\\nerror: the disk is full')")
    messages = supervise_until(process, lambda: process.failure)
    assert process.failure == "cat.0 exited with status 1: error: the disk is full"
    assert [line.rpartition(" in ")[2] for line in messages] == ["0.1 s", "0.2 s"]
    assert process.supervise() is None
    assert process.pid is None


def test_usage_error_is_not_restarted(started):
    process = started("import sys; print('error: no model x', file=sys.stderr); sys.exit(2)")
    supervise_until(process, lambda: process.failure)
    assert process.failure == "cat.0 exited with status 2: error: no model x"
    assert process.restarts == 0


def test_terminated_process_is_not_restarted(started):
    process = started("import time; time.sleep(60)")
    process.terminate()
    assert asyncio.run(process.exits_within(20)) is True
    assert process.supervise() is None
    assert process.pid is None
    assert process.restarts == 0


def test_process_that_ignores_sigterm_is_killed(started, tmp_path):
    process = started(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    pid = process.pid
    supervise_until(process, lambda: b"ready" in (tmp_path / "cat-0.log").read_bytes())
    process.terminate()
    assert asyncio.run(process.exits_within(0.3)) is False
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


def test_process_ends_with_killed_supervisor(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(tmp_path / "log")], stdout=subprocess.PIPE, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        child = psutil.Process(int(supervisor.stdout.readline()))
        assert child.is_running()
        supervisor.kill()
    try:
        child.wait(20)
    except psutil.TimeoutExpired:
        # In a container without an init process, a killed process stays a zombie.
        assert child.status() == psutil.STATUS_ZOMBIE
