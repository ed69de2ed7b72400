"""Ctrl-C ends the running command and its child processes, but not the shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import termios

import psutil
import pytest
from shell_terminal import CHARONCTL

pytestmark = [pytest.mark.system, pytest.mark.timeout(150)]
DETECTOR = "detector --sample noise --points 20 --no-wait --loop 0 --frame-rate 20 --report-period 10"


def still_running(processes, within_s=30.0):
    """Return the processes that are still running after a timeout."""
    return psutil.wait_procs(processes, timeout=within_s)[1]


def test_interrupted_detector_writes_its_report(shell, work):
    terminal = shell()
    terminal.send(f"{DETECTOR} --report report.json\r")
    terminal.wait_for("published", 60)
    processes = terminal.children()
    assert processes
    terminal.send("\x03")
    terminal.prompt()
    assert not still_running(processes)
    assert json.loads((work / "report.json").read_text())["published"] > 0
    assert terminal.children() == []
    assert "Usage: charonctl status" in terminal.run("help status")


def test_interrupted_pipeline_drains(shell, work):
    terminal = shell()
    terminal.send("run workflows/aps/numaflow-aps-live.yaml --local --output out\r")
    terminal.wait_for("is running; results: out", 90)
    processes = terminal.children()
    assert any("nats-server" in process.name() for process in processes)
    assert len(processes) >= 4
    terminal.send("\x03")
    terminal.wait_for("results: out", 60)
    terminal.prompt()
    assert not still_running(processes)
    assert json.loads((work / "out/summary.json").read_text())["complete"]
    assert "no pipeline is running on this machine" in terminal.run("status")
    assert terminal.leave()[1] == 0


def test_ctrl_c_interrupts_kubectl(shell, api):
    terminal = shell({"KUBECONFIG": str(api().kubeconfig)})
    terminal.send("kubectl proxy --port=0\r")
    terminal.wait_for("Starting to serve")
    processes = terminal.children()
    assert any("kubectl" in process.name() for process in processes)
    terminal.send("\x03")
    terminal.prompt()
    assert not still_running(processes)
    assert "Usage: charonctl status" in terminal.run("help status")
    assert terminal.leave()[1] == 0


def test_input_during_a_command_is_the_next_line(shell):
    terminal = shell()
    terminal.send(f"{DETECTOR}\r")
    terminal.wait_for("published", 60)
    terminal.send("\x03help stop\r")
    terminal.wait_for("Usage: charonctl stop")
    terminal.prompt()


def test_sigterm_ends_command_and_shell(shell):
    terminal = shell()
    terminal.send(f"{DETECTOR}\r")
    terminal.wait_for("published", 60)
    processes = terminal.children()
    os.kill(terminal.pid, signal.SIGTERM)
    assert terminal.leave("")[1] == 128 + signal.SIGTERM
    assert not still_running(processes)


def test_closed_terminal_ends_command_and_shell(shell):
    terminal = shell()
    terminal.send(f"{DETECTOR}\r")
    terminal.wait_for("published", 60)
    processes = terminal.children()
    terminal.child.ptyproc.fileobj.close()
    assert not still_running(processes)
    assert terminal.child.wait() == 128 + signal.SIGHUP


def test_terminal_is_restored_after_a_kill(shell):
    terminal = shell()
    terminal.send(f"{DETECTOR}\r")
    terminal.wait_for("published", 60)
    modes = termios.tcgetattr(terminal.child.child_fd)
    assert modes[3] & termios.ECHO
    modes[3] &= ~(termios.ECHO | termios.ICANON | termios.ISIG)
    # The modes of a command that reads single keys.
    termios.tcsetattr(terminal.child.child_fd, termios.TCSANOW, modes)
    os.kill(terminal.children()[0].pid, signal.SIGKILL)
    assert "error: detector was terminated by SIGKILL" in terminal.prompt()
    terminal.send(f"{DETECTOR}\r")
    terminal.wait_for("published", 60)
    assert terminal.echoes()
    terminal.send("\x03")
    terminal.prompt()


@pytest.fixture
def piped(environment, work):
    """Return a function that starts the shell with piped lines and waits for a text on a stream."""
    started = []

    def start(lines, text, stream="stderr", **more):
        process = subprocess.Popen(
            CHARONCTL,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=work,
            env={**environment, **more},
            start_new_session=True,
        )
        started.append(process)
        assert process.stdin is not None
        process.stdin.write(lines.encode())
        process.stdin.close()
        process.stdin = None
        while text not in (line := getattr(process, stream).readline()):
            assert line, "the shell ended early"
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_piped_lines_continue_if_command_succeeds(piped):
    process = piped(f"fly\n{DETECTOR}\nhelp status\n", b"published")
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 2
    assert b"Usage: charonctl status" in out


def test_piped_lines_end_if_command_is_interrupted(piped, api):
    kubeconfig = str(api().kubeconfig)
    process = piped("kubectl proxy --port=0\nhelp status\n", b"Starting to serve", "stdout", KUBECONFIG=kubeconfig)
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGINT
    assert out == b""
