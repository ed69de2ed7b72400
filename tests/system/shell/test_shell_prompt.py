"""The interactive shell: errors never end it, and history, pasting and signals work."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

import pytest
from shell_terminal import CHARONCTL, READY, plain

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
COOKED = re.compile(rb"charon> ")


def history_of(environment):
    return Path(environment["HOME"]) / ".local/state/charon/history"


def test_help_exit_and_quit_work(shell):
    first = shell()
    assert first.greeting.startswith("charonctl ")
    output = first.run("help")
    assert "Usage: charonctl [OPTIONS] [COMMAND]" in output
    assert "Ctrl-C" in output
    assert "Publish simulated or recorded frames" in output
    assert "Usage: charonctl status" in first.run("help status")
    assert first.leave("exit\r")[1] == 0
    assert shell().leave("exit 7\r")[1] == 7
    assert shell().leave("quit\r")[1] == 0


def test_ctrl_d_leaves_on_an_empty_line_only(shell):
    terminal = shell()
    terminal.send("hel\x04p\r")
    assert "Usage: charonctl" in terminal.wait_for("In the shell")
    terminal.prompt()
    assert terminal.leave()[1] == 0


def test_program_name_before_a_command_is_ignored(shell):
    terminal = shell()
    expected = terminal.run("help status")
    for line in ("charonctl help status", "./charonctl help status", "charon> help status", "status --help"):
        assert terminal.run(line).splitlines()[1:] == expected.splitlines()[1:]
    assert "already in the charonctl shell" in terminal.run("charonctl")
    assert "missing command after -v" in terminal.run("-v")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("kubctl get pod", "did you mean kubectl?"),
        ("exti", "did you mean exit?"),
        ("status | cat", "'|' is not supported"),
        ("status && stop x", "'&&' is not supported"),
        ("status > file", "'>' is not supported"),
        ("!ls", "'!' is not supported"),
        ("run 'x.yaml", "missing closing quote '"),
        ('run "x.yaml', 'missing closing quote "'),
        ("exit now", "exit: the exit status"),
        ("run 'no such file.yaml' --local", "no such file.yaml"),
        (r"run no\ such\ file.yaml --local", "no such file.yaml"),
        ("status --colour", "--colour"),
    ],
)
def test_error_is_one_line_and_the_shell_continues(shell, work, line, words):
    terminal = shell()
    errors = [output for output in terminal.run(line).splitlines() if output.startswith("error: ")]
    assert len(errors) == 1
    assert words in errors[0]
    assert terminal.run("exit now").count("error: ") == 1
    assert [path.name for path in work.iterdir()] == ["workflows"]
    assert terminal.leave()[1] == 0


def test_non_utf_8_line_is_preserved(shell, environment):
    terminal = shell()
    output = terminal.run(b"run caf\xe9.yaml --local")
    assert "error: " in output
    assert "caf" in output
    assert terminal.run("help").count("Usage: charonctl") == 1
    assert terminal.leave()[1] == 0
    assert history_of(environment).read_bytes() == b"run caf\xe9.yaml --local\nhelp\n"


def test_very_long_line_is_run(shell):
    terminal = shell()
    output = terminal.run("run " + "x" * 6000 + " --local", timeout_s=60)
    assert "File name too long" in output
    assert "Usage: charonctl status" in terminal.run("help status")


def test_ctrl_c_at_the_prompt_discards_the_line(shell):
    terminal = shell()
    terminal.send("exit 5\x03")
    terminal.prompt()
    assert terminal.leave()[1] == 0


def test_pasted_text_runs_line_by_line(shell):
    terminal = shell()
    block = "charon> help status\n# if you want to leave it,\nfly\nhelp \\\n  stop\nexit 4\nhelp\n"
    terminal.send(f"\x1b[200~{block}\x1b[201~\r")
    output, status = terminal.leave("")
    assert status == 4
    # Each line is printed before its output.
    shown = ["charon> help status", "Usage: charonctl status", "charon> fly", "unknown command 'fly'"]
    shown += ["charon> help   stop", "Usage: charonctl stop", "charon> exit 4"]
    positions = [output.rfind(text) for text in shown]
    assert -1 not in positions
    assert positions == sorted(positions)
    assert "In the shell" not in output


# History


def test_history_is_loaded_at_the_next_start(shell, environment):
    first = shell()
    first.run("help status")
    first.run("kubectl --token hunter2 --kubeconfig nowhere get pod")
    first.run("hunter3")
    first.leave()
    assert stat.S_IMODE(history_of(environment).stat().st_mode) == 0o600
    assert history_of(environment).read_text() == "help status\n"
    second = shell()
    second.send("\x1b[A")
    assert "help status" in second.wait_for("help status")
    second.send("\r")
    second.wait_for("Usage: charonctl status")
    second.prompt()
    # Ctrl-R searches the history.
    second.send("\x12stat\r\r")
    assert "Usage: charonctl status" in second.wait_for("Usage: charonctl status")


def test_unwritable_history_is_one_warning(shell, tmp_path):
    (tmp_path / "file").write_text("")
    terminal = shell({"HOME": str(tmp_path / "file")})
    assert terminal.greeting.count("warning: history is not saved") == 1
    assert "Usage" in terminal.run("help status")
    assert "warning" not in terminal.run("help stop")
    terminal.send("\x1b[A")
    terminal.wait_for("help stop")
    terminal.send("\x03")
    terminal.prompt()
    assert terminal.leave()[1] == 0


def test_missing_home_folder_is_one_warning(shell):
    terminal = shell(without=("HOME", "XDG_STATE_HOME"))
    assert terminal.greeting.count("warning: history is not saved") == 1
    assert "warning" not in terminal.run("help status")
    assert terminal.leave()[1] == 0


# Terminals


def test_dumb_terminal_gets_no_control_sequences(shell, environment):
    terminal = shell({"TERM": "dumb"}, ready=COOKED)
    terminal.send("help status\r")
    output = terminal.wait_for("Usage: charonctl status") + terminal.prompt()
    assert "\x1b" not in output
    terminal.send("fly\r")
    terminal.wait_for("unknown command 'fly'")
    terminal.prompt()
    terminal.send("exit 5\x03")
    terminal.prompt()
    raw = terminal.child.before
    assert b"\x1b" not in raw
    assert terminal.leave()[1] == 0
    assert history_of(environment).read_text() == "help status\n"


@pytest.mark.parametrize(("more", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_no_color_disables_colours(shell, more, coloured):
    terminal = shell(more)
    terminal.send("st\t")
    terminal.wait_for("status")
    terminal.wait_for("stop")
    terminal.send("\x03")
    terminal.child.expect(READY)
    drawn = terminal.child.before
    terminal.send("st\t")
    terminal.child.expect(b"Drain and stop")
    drawn += terminal.child.before
    assert bool(re.search(rb"\x1b\[[0-9;]*[34]8;", drawn)) is coloured, plain(drawn)


def test_prompt_is_on_the_terminal_not_on_stdout(shell, work):
    command = ["/bin/sh", "-c", f"{CHARONCTL[0]} -m charon.cli.main >out"]
    terminal = shell(command=command)
    assert "Usage" not in terminal.run("help status")
    assert "unknown command" in terminal.run("fly")
    assert terminal.leave()[1] == 0
    written = (work / "out").read_text()
    assert written.startswith("Usage: charonctl status")
    assert "\x1b" not in written
    assert "charon>" not in written


def test_sigterm_at_the_prompt_restores_the_terminal(shell, work):
    command = ["/bin/sh", "-c", f"{CHARONCTL[0]} -m charon.cli.main; echo $? >status; stty -a >modes"]
    terminal = shell(command=command)
    assert not terminal.echoes()
    os.kill(terminal.children()[0].pid, signal.SIGTERM)
    terminal.leave("")
    assert (work / "status").read_text() == f"{128 + signal.SIGTERM}\n"
    modes = (work / "modes").read_text().split()
    assert {"echo", "icanon", "isig"} <= set(modes)
