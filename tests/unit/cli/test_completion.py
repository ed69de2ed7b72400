"""Detection of the end of a run."""

from __future__ import annotations

import pytest
from run_snapshots import snapshot

from charon.cli.completion import CompletionDetector


def test_run_is_complete_without_frames_in_flight():
    complete = CompletionDetector(5)
    assert not complete(snapshot(0, accepted=9, reconstructed=8, waiting=1))
    assert complete(snapshot(0, accepted=9, reconstructed=9))


def test_idle_run_with_lost_frames_is_complete():
    complete = CompletionDetector(5)
    assert not complete(snapshot(0, accepted=9, reconstructed=5))
    assert not complete(snapshot(4, accepted=9, reconstructed=6))
    assert not complete(snapshot(8, accepted=9, reconstructed=6))
    assert complete(snapshot(10, accepted=9, reconstructed=6))


@pytest.mark.parametrize("backlog", [{"waiting": 3}, {"ring": 3}])
def test_run_with_waiting_frames_is_not_complete(backlog):
    complete = CompletionDetector(5)
    assert not any(complete(snapshot(n, accepted=9, reconstructed=6, **backlog)) for n in range(0, 1000, 3))
