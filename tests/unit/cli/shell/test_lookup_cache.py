"""A slow answer never holds up the one who asked, and is there later."""

from __future__ import annotations

import threading
import time

import pytest

from charon.cli.shell.lookup_cache import Answers


def soon(seconds=5.0):
    return time.monotonic() + seconds


def test_an_answer_in_time_is_given_and_kept():
    answers, asked = Answers(), []

    def ask():
        asked.append(1)
        return ["x"]

    assert answers.get("k", ask, until=soon()) == ["x"]
    assert answers.get("k", ask, until=soon()) == ["x"]
    assert len(asked) == 1


def test_a_late_answer_is_none_in_time_and_there_afterwards():
    answers, go = Answers(), threading.Event()

    def ask():
        go.wait(10)
        return "late"

    started = time.monotonic()
    assert answers.get("k", ask, until=soon(0.05)) is None
    assert time.monotonic() - started < 0.5
    go.set()
    assert answers.get("k", lambda: "other", until=soon()) == "late"


def test_an_old_answer_is_given_while_a_new_one_is_asked_for():
    answers, go = Answers(keep_s=0.0), threading.Event()
    assert answers.get("k", lambda: 1, until=soon()) == 1
    time.sleep(0.01)

    def ask():
        go.wait(10)
        return 2

    assert answers.get("k", ask, until=soon()) == 1
    go.set()
    end = soon()
    while answers.get("k", lambda: 2, until=soon(0)) != 2:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_error_is_no_answer():
    def ask():
        raise OSError("away")

    assert Answers().get("k", ask, until=soon()) is None


def test_only_so_many_are_asked_at_once():
    answers, go, asked = Answers(), threading.Event(), []

    def ask():
        asked.append(1)
        go.wait(10)
        return 1

    for key in range(20):
        assert answers.get(key, ask, until=soon(0)) is None
    assert len(asked) <= 4
    go.set()
    end = soon()
    while answers.get("last", lambda: 1, until=soon(0.05)) != 1:
        assert time.monotonic() < end


@pytest.mark.timeout(60)
def test_it_forgets_what_was_asked_long_ago():
    answers = Answers(keep_s=0.0)
    for key in range(600):
        answers.get(key, lambda: 1, until=soon())
    assert len(answers._answers) <= 256
