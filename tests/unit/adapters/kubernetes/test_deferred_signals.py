"""Signals that end a command wait until a program that it starts is registered."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from charon.adapters.kubernetes.deferred_signals import deferred_signals


@pytest.fixture
def exiting_handler():
    """Let SIGTERM raise SystemExit, as `charonctl` does."""
    previous = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    yield
    signal.signal(signal.SIGTERM, previous)


def test_signal_is_handled_after_the_block(exiting_handler):
    steps = []

    def interrupted():
        with deferred_signals():
            os.kill(os.getpid(), signal.SIGTERM)
            steps.append("still running")

    with pytest.raises(SystemExit) as exit_info:
        interrupted()
    assert steps == ["still running"]
    assert exit_info.value.code == 128 + signal.SIGTERM


def test_handlers_are_restored(exiting_handler):
    handler = signal.getsignal(signal.SIGTERM)
    with deferred_signals():
        assert signal.getsignal(signal.SIGTERM) is not handler
    assert signal.getsignal(signal.SIGTERM) is handler


def test_default_signal_is_unchanged():
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    with deferred_signals():
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
