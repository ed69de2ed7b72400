"""Notes about a run, from its summary."""

from __future__ import annotations

import json

from charon.comparison.engines.restarts import restart_notes


def test_restarts_and_other_messages_are_notes(tmp_path):
    summary = tmp_path / "summary.json"
    messages = [
        "cat.0 was killed by SIGKILL: no output; restarting in 0.1 s",
        "consumer.1 did not exit within 15 s; killed",
    ]
    summary.write_text(json.dumps({"restarts": {"cat.0": 2, "cat.1": 3, "in.0": 1}, "messages": messages}))
    assert restart_notes(summary) == [
        "cat.0 was restarted twice",
        "cat.1 was restarted 3 times",
        "in.0 was restarted once",
        "consumer.1 did not exit within 15 s; killed",
    ]


def test_missing_summary_is_a_note(tmp_path):
    assert restart_notes(tmp_path / "summary.json") == ["the engine wrote no summary"]
