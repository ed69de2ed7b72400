"""``charonctl run --local``: its output folder and its warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.cli.run_local import prepare_frame_log, prepare_output, print_last_warnings
from charon.engines.embedded import Snapshot
from charon.errors import UsageError
from charon.ledger.accounting import compute_account
from charon.ledger.pages import InferencePage, SourcePage
from charon.ledger.process import ProcessStats

LIVE = Path(__file__).parents[3] / "workflows" / "aps" / "numaflow-aps-live.yaml"


def test_resume_requires_output(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_command(cli, ["run", str(LIVE), "--local", "--resume"]) == 2
    assert capsys.readouterr().err == "error: --resume requires --output, the folder of the run to resume\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("inference, --model, my-net", "bundle 'my-net' not found"),
        ("inference, --modl, x", "unknown option '--modl'; did you mean --model?"),
        ("infer", "command 'infer'"),
    ],
)
def test_invalid_vertex_creates_no_output(capsys, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    text = LIVE.read_text()
    Path("my.yaml").write_text(text.replace("inference, --model, ptychonn2-sim", arguments))
    assert run_command(cli, ["run", "my.yaml", "--local", "--output", "o1"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: my.yaml: vertex 'cat': ")
    assert message in error
    assert not Path("o1").exists()


def test_resume_in_empty_folder_warns(capsys, tmp_path):
    prepare_output(tmp_path / "misspelt", resume=True)
    assert "misspelt contains no run to resume" in capsys.readouterr().err
    (tmp_path / "misspelt" / "log").mkdir()
    prepare_output(tmp_path / "misspelt", resume=True)
    assert capsys.readouterr().err == ""


def test_frame_logs_of_another_run_are_rejected(tmp_path):
    folder = tmp_path / "new" / "frames"
    prepare_frame_log(folder, resume=False)
    (folder / "cat.0.bin").touch()
    prepare_frame_log(folder, resume=True)
    with pytest.raises(UsageError, match=r"frame logs of another run.*--frame-log"):
        prepare_frame_log(folder, resume=False)
    with pytest.raises(UsageError, match=r"Not a directory.*--frame-log"):
        prepare_frame_log(folder / "cat.0.bin" / "frames", resume=False)


def test_folder_with_files_is_rejected(tmp_path):
    (tmp_path / "scan-1.h5").touch()
    with pytest.raises(UsageError, match=r"is not empty.*--resume"):
        prepare_output(tmp_path, resume=False)


def test_remedy_names_only_existing_options(tmp_path):
    (tmp_path / "summary.json").touch()
    with pytest.raises(UsageError, match=r"is not empty; choose another folder with --output$"):
        prepare_output(tmp_path, resume=False, can_resume=False)


def test_quiet_run_prints_last_warnings(capsys):
    noisy = ProcessStats(warnings=("frame 1: 64x64", "frame 2: 64x64"))
    quiet = ProcessStats()
    pages = {
        "in.0": SourcePage(process=noisy),
        "in.1": SourcePage(process=quiet),
        "cat.0": InferencePage(process=quiet),
    }
    print_last_warnings(Snapshot(0, pages, {}, compute_account(pages, ended=True)))
    assert capsys.readouterr().err == "! in: frame 2: 64x64\n"
