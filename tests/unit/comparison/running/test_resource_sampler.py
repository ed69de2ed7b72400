"""Resources of real child processes, compared with what the processes themselves report."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest

from charon.comparison.running.sampler import Sampler, clock_offset_ns
from charon.comparison.running.series import process_figures
from charon.errors import UnavailableError

BURN = """
import sys, time
while time.process_time() < {cpu_s}:
    pass
print(time.process_time(), flush=True)
sys.stdin.read()
"""
TOLERANCE_S = 0.03
"""CPU time is counted in units of 10 ms; two ends of a window, and the start of the process."""


class Child:
    """A child process with its pid, which prints its CPU time."""

    def __init__(self, process):
        self.pid = process.pid
        self.kill = process.kill
        self._output = process.stdout

    def burnt_s(self):
        """Wait until the process has used its CPU time, and return the time that it reports."""
        return float(self._output.readline())


@contextmanager
def child(source):
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Child(process)
        finally:
            process.kill()


def test_cpu_time_equals_that_of_the_child():
    with child("import sys; sys.stdin.read()") as idle, child(BURN.format(cpu_s=0.5)) as busy:
        started_ns = time.time_ns()
        with Sampler(lambda: {"busy": busy.pid, "idle": idle.pid}, idle.pid, interval_s=0.05) as sampler:
            burnt_s = busy.burnt_s()
        ended_ns = time.time_ns()
        # From the start of the process, which the first sample contains.
        figures = {f.name: f for f in process_figures(sampler.processes, started_ns - 10**9, ended_ns)}
    assert figures["busy"].cpu_s == pytest.approx(burnt_s, abs=TOLERANCE_S)
    assert figures["idle"].cpu_s < burnt_s / 2
    assert 1 << 20 < figures["busy"].rss_mean_bytes <= figures["busy"].rss_max_bytes < 1 << 30
    assert sampler.machine.busy_between(started_ns, ended_ns) > 0


def test_start_in_the_future_loses_no_cpu_time(monkeypatch):
    # The clock was set back after the boot.
    monkeypatch.setattr(psutil.Process, "create_time", lambda _process: time.time() + 3600)
    with child(BURN.format(cpu_s=0.3)) as busy:
        with Sampler(lambda: {"busy": busy.pid}, busy.pid, interval_s=0.05) as sampler:
            burnt_s = busy.burnt_s()
        (figures,) = process_figures(sampler.processes, 0, time.time_ns())
    assert figures.cpu_s == pytest.approx(burnt_s, abs=TOLERANCE_S)


def test_restarted_process_keeps_its_name():
    with child(BURN.format(cpu_s=0.2)) as first, child("import sys; sys.stdin.read()") as detector:
        pids = {"cat.0": first.pid}
        with Sampler(lambda: pids, detector.pid, interval_s=0.02) as sampler:
            first_s = first.burnt_s()
            time.sleep(0.1)
            first.kill()
            with child(BURN.format(cpu_s=0.3)) as second:
                pids["cat.0"] = second.pid
                second_s = second.burnt_s()
                end = time.monotonic() + 30
                while len(sampler.processes["cat.0"]) < 2 and time.monotonic() < end:
                    time.sleep(0.02)
                time.sleep(0.1)
        (figures,) = process_figures(sampler.processes, 0, time.time_ns())
    assert len(sampler.processes["cat.0"]) == 2
    assert figures.cpu_s == pytest.approx(first_s + second_s, abs=2 * TOLERANCE_S)


def test_unreadable_processes_are_found_later():
    answers = [UnavailableError("starting"), UnavailableError("starting")]

    def find():
        if answers:
            raise answers.pop()
        return {"cat.0": process.pid}

    with child("import sys; sys.stdin.read()") as process:
        with Sampler(find, process.pid, interval_s=0.02) as sampler:
            end = time.monotonic() + 30
            while not sampler.processes and time.monotonic() < end:
                time.sleep(0.02)
        assert set(sampler.processes) == {"cat.0"}


def test_error_of_the_thread_is_raised():
    def find():
        raise ZeroDivisionError("broken") if started else UnavailableError("starting")

    started = False
    with child("import sys; sys.stdin.read()") as process:
        sampler = Sampler(find, process.pid, interval_s=0.02)
        sampler.__enter__()
        started = True
        sampler._thread.join(30)
        with pytest.raises(ZeroDivisionError):
            sampler.__exit__(None, None, None)


def test_offset_of_the_clocks_is_constant():
    offsets = [clock_offset_ns() for _ in range(100)]
    assert max(offsets) - min(offsets) < 2_000_000
