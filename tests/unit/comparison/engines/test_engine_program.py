"""Programs of a cell: their end in order, and their end by force."""

from __future__ import annotations

import sys
import time

import pytest

from charon.comparison.engines.program import Program
from charon.errors import UnavailableError

ENDS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))"
IGNORES = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
WAIT = "; print('ready', flush=True); time.sleep(120)"


@pytest.fixture
def start(tmp_path):
    """Return a function that starts a program and returns it when it is ready."""
    programs = []

    def start(source):
        log = tmp_path / "log"
        program = Program("the engine", [], {}, log)
        program._command = [sys.executable, "-c", source + WAIT]
        programs.append(program)
        program.start()
        end_s = time.monotonic() + 60
        while "ready" not in log.read_text():
            assert time.monotonic() < end_s
            time.sleep(0.02)
        return program

    yield start
    for program in programs:
        program.kill()


def test_program_ends_in_order(start):
    program = start(ENDS)
    assert program.failure() is None
    program.drain(60)
    assert program.failure() == "the engine exited with status 0: ready"


def test_program_that_does_not_drain_is_killed(start):
    program = start(IGNORES)
    with pytest.raises(UnavailableError, match="the engine had not drained after 0 s; reduce the rate or the duration"):
        program.drain(0.1)
    assert program.failure() == "the engine was killed by SIGKILL: ready"
