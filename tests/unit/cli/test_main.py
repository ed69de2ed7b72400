"""charonctl starts fast and reports an error as one line and an exit status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from charon.cli.exit_status import run_command
from charon.cli.main import cli
from charon.cli.registry import COMMANDS
from charon.errors import UnavailableError, UsageError


def test_help_lists_every_command(capsys):
    assert run_command(cli, ["help"]) == 0
    shown = capsys.readouterr().out
    for name, (_, summary) in COMMANDS.items():
        assert name in shown
        assert summary.split()[0] in shown


def test_help_accepts_subcommands_and_arguments(capsys):
    assert run_command(cli, ["help", "model", "show"]) == 0
    assert "model show" in capsys.readouterr().out.splitlines()[0]
    assert run_command(cli, ["help", "kubectl", "get"]) == 0
    assert "kubectl" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize("command", ["run", "status", "stop", "detector"])
def test_help_shows_usage_and_options(capsys, command):
    assert run_command(cli, ["help", command]) == 0
    shown = capsys.readouterr().out
    assert f"Usage: charonctl {command}" in shown or f" {command} " in shown
    assert "Options:" in shown


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fly"], "fly"),
        (["help", "fly"], "'fly'"),
        (["status", "--colour"], "--colour"),
        (["help", "model", "fly"], "'fly'"),
        (["detector", "--shape", "0x4"], "not LINESxPOINTS"),
        (["demo", "--sample", "duck"], "duck"),
        (["demo", "--shape", "0x0"], "not LINESxPOINTS"),
        (["run", "x.yaml", "--frames", "many"], "many"),
        (["run", "/nowhere/x.yaml"], "--local"),
        (["run", "x.yaml", "--local", "--no-wait"], "--no-wait requires a cluster"),
        (["run", "x.yaml", "--local", "--timeout", "5"], "--timeout requires a cluster"),
        (["detector", "--shape", "12x12", "--points", "5"], "--shape and --points exclude each other"),
        (["detector", "--scan", "spiral", "--shape", "3x3"], "--shape requires --scan raster or snake"),
        (["detector", "--input-file", __file__, "--flux", "5"], "--flux has no effect on a recording"),
        (["detector", "--input-directory", ".", "--sample", "star"], "--sample has no effect on a recording"),
        (["detector", "--scan", "zigzag"], "--scan zigzag: not raster, snake or spiral, and no such file"),
        (["detector", "--fftshift"], "--fftshift requires --input-file"),
        (["detector", "--position-delay", "1"], "--position-delay requires --position-channel"),
        (["run", "/nowhere/x.yaml", "--local"], "/nowhere/x.yaml"),
    ],
)
def test_usage_error_is_one_line_and_status_2(capsys, arguments, words):
    assert run_command(cli, arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert words in output.err


@pytest.mark.parametrize(
    ("error", "status"), [(UsageError("no such model x"), 2), (UnavailableError("10.0.0.1 does not respond"), 1)]
)
def test_expected_error_is_one_line(capsys, error, status):
    @click.command()
    def fail():
        raise error

    assert run_command(fail, []) == status
    assert capsys.readouterr().err == f"error: {error}\n"


def test_unexpected_error_is_raised():
    @click.command()
    def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_command(fail, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model", "lst"], "unknown command 'lst'; did you mean list?"),
        (["model", "xyz"], "unknown command 'xyz'; see: charonctl model --help"),
        (["xyz"], "unknown command 'xyz'; see: charonctl help"),
    ],
)
def test_unknown_command_gets_a_hint(capsys, arguments, message):
    assert run_command(cli, arguments, name="charonctl") == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run"], "missing argument 'FILE-OR-URL'; see: charonctl run --help"),
        (["status", "--jsn"], "unknown option '--jsn'; did you mean --json?"),
        (["status", "--foo"], "unknown option '--foo'; see: charonctl status --help"),
        (["status", "a", "b", "c"], "got unexpected extra argument (c); see: charonctl status --help"),
        (["detector", "--seed"], "option '--seed' requires an argument"),
        (["detector", "--dead-pixels", "-1"], "invalid value for '--dead-pixels': -1: must be at least 0"),
        (["detector", "--step", "0"], "invalid value for '--step': 0.0: must be greater than 0"),
        (
            ["run", "x.yaml", "--nats-port", "70000"],
            "invalid value for '--nats-port': 70000: must be at least 0 and at most 65535",
        ),
    ],
)
def test_click_error_has_the_projects_form(capsys, arguments, message):
    assert run_command(cli, arguments, name="charonctl") == 2
    assert capsys.readouterr().err == f"error: {message}\n"


@pytest.mark.parametrize("returned", [None, 0, 1, 3])
def test_return_value_is_the_exit_status(returned):
    @click.command()
    def command():
        return returned

    assert run_command(command, []) == (returned or 0)


def test_status_without_pipeline_suggests_run(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run_command(cli, ["status"]) == 2
    assert (
        capsys.readouterr().err
        == "error: no pipeline is running on this machine; start one with: charonctl run FILE --local\n"
    )


@pytest.mark.parametrize("arguments", [["help"], ["metrics", "--list-runs", "--format", "json"]])
def test_full_disk_behind_stdout_is_one_line(arguments):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "charon.cli.main", *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        1,
        "error: cannot write the output: [Errno 28] No space left on device\n",
    )


def test_help_imports_no_slow_library():
    code = (
        "import sys; from charon.cli.exit_status import run_command; from charon.cli.main import cli;"
        "status = run_command(cli, ['help']);"
        "heavy = {'numpy', 'cbor2', 'pydantic', 'nats', 'openvino', 'h5py', 'rich', 'scipy', 'prompt_toolkit'};"
        "heavy &= set(sys.modules);"
        "sys.exit(status or ' '.join(heavy) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "charonctl" in done.stdout or "Commands" in done.stdout
