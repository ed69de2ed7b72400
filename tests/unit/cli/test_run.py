"""What `charonctl run --local` says of its output folder."""

from __future__ import annotations

from pathlib import Path

from charon.cli.main import cli, run_command
from charon.cli.run import claim_output

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
