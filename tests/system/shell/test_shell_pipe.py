"""Lines from a pipe: each is run, output is plain, and the status is that of the first that failed."""

from __future__ import annotations

import subprocess

import pytest
from shell_terminal import CHARONCTL, ROOT

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]


@pytest.fixture
def piped(environment, work):
    def run(text, *arguments, command=CHARONCTL):
        data = text if isinstance(text, bytes) else text.encode()
        done = subprocess.run(
            [*command, *arguments], input=data, capture_output=True, cwd=work, env=environment, timeout=100, check=False
        )
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    return run


def test_help_through_a_pipe_is_the_help(piped):
    status, out, err = piped("help\n")
    assert (status, err) == (0, "")
    assert out.startswith("Usage: charonctl [OPTIONS] [COMMAND]")
    assert "\x1b" not in out
    assert piped("help status")[1] == piped("", "help", "status")[1] == piped("", "status", "--help")[1]


def test_the_launcher_of_a_checkout_takes_lines_too(piped):
    status, out, err = piped("help\n", command=[str(ROOT / "charonctl")])
    assert (status, err) == (0, "")
    assert "Usage: charonctl" in out


def test_blank_lines_and_comments_are_passed_over(piped):
    assert piped("\n  \n# status\n   # status\n") == (0, "", "")
    assert piped("") == (0, "", "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("help status", 0),
        ("fly\nhelp status", 2),
        ("help status\nrun nowhere.yaml --local\nfly", 2),
        ("metrics http://127.0.0.1:1 --query up\nfly\nhelp", 1),
        ("fly\nmetrics http://127.0.0.1:1 --query up", 2),
        ("fly\nexit", 2),
        ("fly\nexit 0\nfly", 0),
        ("exit 9\nfly", 9),
        ("'\nhelp", 2),
        ("status | cat", 2),
    ],
)
def test_the_status_is_that_of_the_first_line_that_failed(piped, text, expected):
    assert piped(text)[0] == expected


def test_lines_after_a_failure_are_run_and_faults_name_their_line(piped):
    status, out, err = piped("# one\nfly\nrun 'x\n\nhelp status\n")
    assert status == 2
    assert "Usage: charonctl status" in out
    assert err.splitlines() == [
        "error: line 2: unknown command 'fly'; see: help",
        "error: line 3: the quote ' is not closed",
    ]


def test_the_end_of_a_line_may_be_windows_s_and_a_backslash_joins(piped):
    status, out, err = piped("help \\\n status\r\nhelp stop\r\nfly")
    assert status == 2
    assert "Usage: charonctl status" in out
    assert "Usage: charonctl stop" in out
    assert err == "error: line 4: unknown command 'fly'; see: help\n"


@pytest.mark.parametrize("command", ["charonctl", "./charonctl", "charon> ", "/opt/charon/charonctl"])
def test_the_program_s_name_may_stand_before_a_command(piped, command):
    status, out, _ = piped(f"{command} help status")
    assert status == 0
    assert out.startswith("Usage: charonctl status")


def test_bytes_that_are_not_utf_8_come_through(piped, work):
    (work / "caf\udce9.yaml").write_text("kind: Nothing")
    status, _, err = piped(b"run caf\xe9.yaml --local\n")
    assert status == 2
    assert "Nothing" in err or "Pipeline" in err
    assert "no such file" not in err.lower()


def test_a_line_that_no_program_can_take(piped):
    status, out, err = piped("run " + "x" * 300_000 + "\nhelp status\n")
    assert status == 1
    assert err == "error: run cannot be started: Argument list too long\n"
    assert "Usage: charonctl status" in out
    assert piped(b"run a\0b")[2] == "error: line 1: the line holds a NUL byte, which no argument can\n"


def test_a_command_does_not_read_the_lines_that_follow(piped, environment, api):
    environment["KUBECONFIG"] = str(api().kubeconfig)
    _, out, _ = piped("kubectl apply -f -\nhelp status\n")
    assert "Usage: charonctl status" in out


def test_a_line_is_run_when_it_comes(environment, work):
    with subprocess.Popen(
        CHARONCTL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=work, env=environment
    ) as process:
        process.stdin.write(b"help status\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Usage: charonctl status [OPTIONS] [PIPELINE] [NAMESPACE]\n"
        process.stdin.write(b"exit 3\n")
        process.stdin.close()
        assert process.wait(30) == 3


def test_verbose_holds_for_its_own_line_only(piped):
    text = "{}metrics http://127.0.0.1:1 --query up\n"
    assert "DEBUG" in piped(text.format("-v "))[2]
    mixed = piped("-v help status\n" + text.format(""))[2]
    assert "DEBUG" not in mixed
    assert "DEBUG" in piped(text.format(""), "-v")[2]


def test_a_command_that_cannot_import_does_not_come_from_the_folder_at_hand(piped, work):
    (work / "click.py").write_text("raise SystemExit('not this one')")
    (work / "charon.py").write_text("raise SystemExit('not this one')")
    status, out, _ = piped("help status", command=[CHARONCTL[0], "-P", *CHARONCTL[1:]])
    assert status == 0
    assert out.startswith("Usage")
