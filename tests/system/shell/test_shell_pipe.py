"""All lines from a pipe run, and the exit status is that of the first failure."""

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


def test_piped_help_equals_help(piped):
    status, out, err = piped("help\n")
    assert (status, err) == (0, "")
    assert out.startswith("Usage: charonctl [OPTIONS] [COMMAND]")
    assert "\x1b" not in out
    assert piped("help status")[1] == piped("", "help", "status")[1] == piped("", "status", "--help")[1]


def test_launcher_of_a_checkout_reads_lines(piped):
    status, out, err = piped("help\n", command=[str(ROOT / "charonctl")])
    assert (status, err) == (0, "")
    assert "Usage: charonctl" in out


def test_blank_lines_and_comments_are_skipped(piped):
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
def test_status_is_that_of_the_first_failure(piped, text, expected):
    assert piped(text)[0] == expected


def test_errors_name_their_line(piped):
    status, out, err = piped("# one\nfly\nrun 'x\n\nhelp status\n")
    assert status == 2
    assert "Usage: charonctl status" in out
    assert err.splitlines() == [
        "error: line 2: unknown command 'fly'; see: help",
        "error: line 3: missing closing quote '",
    ]


def test_crlf_and_continuation_lines_are_run(piped):
    status, out, err = piped("help \\\n status\r\nhelp stop\r\nfly")
    assert status == 2
    assert "Usage: charonctl status" in out
    assert "Usage: charonctl stop" in out
    assert err == "error: line 4: unknown command 'fly'; see: help\n"


@pytest.mark.parametrize("command", ["charonctl", "./charonctl", "charon> ", "/opt/charon/charonctl"])
def test_program_name_before_a_command_is_ignored(piped, command):
    status, out, _ = piped(f"{command} help status")
    assert status == 0
    assert out.startswith("Usage: charonctl status")


def test_bytes_that_are_not_utf_8_are_preserved(piped, work):
    (work / "caf\udce9.yaml").write_text("kind: Nothing")
    status, _, err = piped(b"run caf\xe9.yaml --local\n")
    assert status == 2
    assert "Nothing" in err or "Pipeline" in err
    assert "no such file" not in err.lower()


def test_line_too_long_for_process_fails_alone(piped):
    status, out, err = piped("run " + "x" * 300_000 + "\nhelp status\n")
    assert status == 1
    assert err == "error: failed to start run: Argument list too long\n"
    assert "Usage: charonctl status" in out
    assert piped(b"run a\0b")[2] == "error: line 1: the line contains a NUL byte\n"


def test_commands_do_not_read_later_lines(piped, environment, api):
    environment["KUBECONFIG"] = str(api().kubeconfig)
    _, out, _ = piped("kubectl apply -f -\nhelp status\n")
    assert "Usage: charonctl status" in out


def test_line_runs_as_soon_as_it_is_received(environment, work):
    with subprocess.Popen(
        CHARONCTL, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=work, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"help status\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"Usage: charonctl status [OPTIONS] [PIPELINE] [NAMESPACE]\n"
        process.stdin.write(b"exit 3\n")
        process.stdin.close()
        assert process.wait(30) == 3


def test_verbose_applies_to_its_line_only(piped):
    text = "{}metrics http://127.0.0.1:1 --query up\n"
    assert "DEBUG" in piped(text.format("-v "))[2]
    mixed = piped("-v help status\n" + text.format(""))[2]
    assert "DEBUG" not in mixed
    assert "DEBUG" in piped(text.format(""), "-v")[2]


def test_modules_in_the_folder_are_not_imported(piped, work):
    (work / "click.py").write_text("raise SystemExit('not this one')")
    (work / "charon.py").write_text("raise SystemExit('not this one')")
    status, out, _ = piped("help status", command=[CHARONCTL[0], "-P", *CHARONCTL[1:]])
    assert status == 0
    assert out.startswith("Usage")
