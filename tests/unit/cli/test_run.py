"""What `charonctl run --local` says of its folder and of what went wrong."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.cli.run import claim_output, say_what_was_held_back
from charon.ledger.pages import InferencePage, SourcePage
from charon.ledger.process import ProcessStats

LIVE = Path(__file__).parents[3] / "workflows" / "aps" / "numaflow-aps-live.yaml"


def test_going_on_wants_a_folder(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(cli, ["run", str(LIVE), "--local", "--resume"]) == 2
    assert capsys.readouterr().err == "error: --resume goes on in a folder: name it with --output\n"
    assert list(tmp_path.iterdir()) == []


def test_going_on_where_nothing_is_says_so(capsys, tmp_path):
    claim_output(tmp_path / "misspelt", resume=True)
    assert "misspelt holds no run to go on with" in capsys.readouterr().err
    (tmp_path / "misspelt" / "log").mkdir()
    claim_output(tmp_path / "misspelt", resume=True)
    assert capsys.readouterr().err == ""


def test_a_quiet_run_says_at_its_end_why_frames_were_rejected(capsys):
    noisy = ProcessStats(warnings=("frame 1: 64x64", "frame 2: 64x64"))
    quiet = ProcessStats()
    pages = {"in": [SourcePage(process=noisy), SourcePage(process=quiet)], "cat": [InferencePage(process=quiet)]}
    say_what_was_held_back(SimpleNamespace(by_vertex=lambda: pages))
    assert capsys.readouterr().err == "! in: frame 2: 64x64\n"
