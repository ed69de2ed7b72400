"""``charonctl provision`` on small playbooks: exit status, summary, output, secrets, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pexpect
import pytest
from calls import ROOT, charonctl, clean_environment, inventory
from node import PASSWORD

from charon.adapters.ansible import uses_become

if TYPE_CHECKING:
    from collections.abc import Callable

    from node import Node

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(240)]


def playbook(path: Path, tasks: str, become: bool = False) -> Path:
    """Write a playbook with one play."""
    play = f"- name: A play\n  hosts: all\n  gather_facts: false\n  become: {str(become).lower()}\n  tasks:\n"
    path.write_text(play + textwrap.indent(textwrap.dedent(tasks), "    "))
    return path


GOOD = """
- name: Print something
  ansible.builtin.debug:
    msg: where the password is
- name: Write a file
  ansible.builtin.copy:
    content: hello
    dest: "{{ path }}"
    mode: "0600"
- name: Skip this
  ansible.builtin.command: "false"
  when: false
"""


def test_run_prints_tasks_and_summary(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", GOOD)
    done = charonctl(play, "-e", f"path={tmp_path / 'made'}")
    assert done.status == 0, done.stderr
    assert (tmp_path / "made").read_text() == "hello"
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "localhost: 2 ok, 1 changed, 0 failed, 0 unreachable, 1 skipped",
        "  changed: Write a file",
        "where the password is",
    ]
    assert re.fullmatch(r"finished in \d+ s", lines[3])
    assert done.stderr.splitlines() == ["localhost: ok: Print something", "localhost: changed: Write a file"]
    assert "\x1b" not in done.stdout + done.stderr
    again = charonctl("--json", play, "localhost", "-e", f"path={tmp_path / 'made'}")
    assert again.summary["changed"] == {}
    assert again.summary["hosts"]["localhost"] == {"ok": 2, "changed": 0, "failed": 0, "unreachable": 0, "skipped": 1}


def test_failed_task_prints_message_and_status(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: Break\n  ansible.builtin.fail:\n    msg: the pump is off\n")
    done = charonctl(play)
    assert done.status == 2
    assert done.stderr.splitlines() == ["localhost: failed: Break", "  the pump is off"]
    assert "  failed: Break" in done.stdout.splitlines()


def test_unreachable_host_gives_status_4(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: Ping\n  ansible.builtin.ping:\n", become=True)
    # Nothing listens on port 1.
    done = charonctl("--json", play, "user@127.0.0.2", "-e", "ansible_port=1")
    assert done.status == 4
    assert done.summary["hosts"]["127.0.0.2"]["unreachable"] == 1
    assert "127.0.0.2: unreachable: Ping" in done.stderr


def test_invalid_playbook_gives_ansibles_status(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: No such thing\n  no_such_module:\n")
    done = charonctl(play)
    assert done.status not in {0, 2}
    assert "no_such_module" in done.stderr
    assert done.stdout.startswith("no task was run (Ansible's exit status ")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("a: [", "not valid YAML"),
        ("a: b", "not a playbook"),
        ("- a: 2025-13-45", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
    ],
)
def test_invalid_call_is_one_line_and_status_2(tmp_path: Path, content: str | None, reason: str) -> None:
    play = tmp_path / "play.yaml"
    if content is not None:
        play.write_text(content)
    done = charonctl(play)
    assert (done.status, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {play}: {reason}")


@pytest.mark.timeout(60)
def test_become_is_detected_among_aliases(tmp_path: Path) -> None:
    bomb = "".join(f"    a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    play = tmp_path / "play.yaml"
    play.write_text(f"- hosts: all\n  vars: &self\n    a0: &a0 [x, x]\n{bomb}    again: *self\n")
    assert not uses_become(play)
    play.write_text(play.read_text() + "  tasks:\n    - become: true\n")
    assert uses_become(play)


@pytest.mark.parametrize(
    ("name", "content"), [("requirements.yml", "a:\n- [\n"), ("requirements.yml", "a: 2025-13-45")]
)
def test_invalid_requirements_are_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    done = charonctl(playbook(tmp_path / "play.yaml", GOOD))
    assert (done.status, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {tmp_path / name}: not valid YAML")


@pytest.mark.parametrize(
    "argument",
    ["ansible_become_pass=x", '{"ansible_password": "x"}', "ansible_become_password: x", "charon_grafana_password=x"],
)
def test_password_on_command_line_is_rejected(tmp_path: Path, argument: str) -> None:
    done = charonctl(playbook(tmp_path / "play.yaml", GOOD), "-e", argument)
    assert done.status == 2
    assert "set ANSIBLE_BECOME_PASS; for others, use a file: -e @FILE" in done.stderr


def test_missing_ansible_is_one_line(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", GOOD)
    (tmp_path / "bin").mkdir()
    # A Python without Ansible next to it.
    (tmp_path / "bin/python").symlink_to(sys.executable)
    code = "import sys; sys.executable = sys.argv[1]; sys.argv[1:2] = []; from charon.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "bin/python", "provision", play],
        env=clean_environment(PATH=str(tmp_path / "bin")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "error: ansible-playbook is not installed; install ansible-core with pip or your package manager\n"
    )


def test_missing_collections_are_installed(tmp_path: Path) -> None:
    collection = tmp_path / "source"
    collection.mkdir()
    (collection / "galaxy.yml").write_text(
        "namespace: charon_tests\nname: doubling\nversion: 1.2.3\nreadme: R.md\nauthors: [tests]\n"
    )
    (collection / "R.md").write_text("A collection for the tests.\n")
    (collection / "plugins/filter").mkdir(parents=True)
    (collection / "plugins/filter/twice.py").write_text(
        "class FilterModule:\n    def filters(self):\n        return {'twice': lambda text: text * 2}\n"
    )
    bin_folder = f"{sys.executable.rpartition('/')[0]}"
    build = [f"{bin_folder}/ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(collection)]
    subprocess.run(build, check=True, capture_output=True)
    (tmp_path / "book").mkdir()
    (tmp_path / "book/requirements.yml").write_text(
        f"collections:\n  - name: {tmp_path}/charon_tests-doubling-1.2.3.tar.gz\n    type: file\n"
    )
    task = "- name: Print it\n  ansible.builtin.debug:\n    msg: \"{{ 'tick' | charon_tests.doubling.twice }}\"\n"
    play = playbook(tmp_path / "book/play.yaml", task)
    collections = str(tmp_path / "collections")
    done = charonctl(play, ANSIBLE_COLLECTIONS_PATH=collections)
    assert done.status == 0, done.stderr
    assert "installing collections" in done.stderr
    assert "ticktick" in done.stdout
    (tmp_path / "book/requirements.yml").write_text(
        'collections:\n  - {name: charon_tests.doubling, version: ">=1.2.0"}\n'
    )
    assert "installing collections" not in charonctl(play, ANSIBLE_COLLECTIONS_PATH=collections).stderr


def test_interrupt_is_forwarded_to_ansible(tmp_path: Path) -> None:
    seconds = "86399.25"
    play = playbook(tmp_path / "play.yaml", f"- name: Wait\n  ansible.builtin.command: sleep {seconds}\n")
    call = [sys.executable, "-m", "charon.cli.main", "provision", str(play)]
    process = subprocess.Popen(
        call,
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait_until(lambda: sleeping(seconds))
        # To charonctl alone, as a program would; a terminal would signal Ansible too.
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode not in {0, -signal.SIGINT}
        wait_until(lambda: not sleeping(seconds))
    finally:
        process.kill()
        process.wait()
        for pid in sleeping(seconds):
            os.kill(pid, signal.SIGKILL)


def test_terminal_shows_running_task_until_ctrl_c(tmp_path: Path) -> None:
    seconds = "86399.75"
    tasks = (
        f"- name: Change\n  ansible.builtin.command: 'true'\n- name: Wait\n  ansible.builtin.command: sleep {seconds}\n"
    )
    play = playbook(tmp_path / "play.yaml", tasks)
    child = pexpect.spawn(
        sys.executable, ["-m", "charon.cli.main", "provision", str(play)], cwd=str(ROOT), timeout=60, encoding="utf-8",
        env=clean_environment(TERM="xterm"), dimensions=(40, 120),
    )  # fmt: skip
    try:
        child.expect("changed.*localhost  Change")
        child.expect("Wait")
        wait_until(lambda: sleeping(seconds))
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus not in {0, None}
        wait_until(lambda: not sleeping(seconds))
    finally:
        child.close(force=True)
        for pid in sleeping(seconds):
            os.kill(pid, signal.SIGKILL)


def sleeping(seconds: str) -> list[int]:
    """Return the processes that sleep for this time, which only one test uses."""
    done = subprocess.run(
        ["/usr/bin/pgrep", "-fx", f"sleep {re.escape(seconds)}"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in done.stdout.split()]


def wait_until(condition: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


# Passwords. Sudo prompts the node's user "prompted" for one.

SLOW = """
- name: Run as root
  ansible.builtin.shell: id -u; sleep 2; tr '\\0' '\\n' </proc/self/environ
  register: seen
  changed_when: false
- name: Check it
  ansible.builtin.assert:
    that: seen.stdout_lines[0] == '0'
- name: Print it
  ansible.builtin.debug:
    var: seen.stdout
"""


@pytest.fixture(scope="module")
def node(boot: Callable[[str], Node]) -> Node:
    return boot("node3")


def command_lines_and_environments(pid: int) -> str:
    """Return the command lines and environments in /proc of a process and its descendants."""
    pids, text = [pid], ""
    own = Path(f"/proc/{pid}/cmdline").read_bytes()
    while pids:
        process = Path(f"/proc/{pids.pop()}")
        try:
            pids += [
                int(child) for task in (process / "task").iterdir() for child in (task / "children").read_text().split()
            ]
            command = (process / "cmdline").read_bytes()
            # Before exec, a child is a copy of charonctl, whose environment is the user's.
            if command != own:
                text += (
                    (command + b" " + (process / "environ").read_bytes() + b"\n")
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                )
        except OSError:
            # The process has exited.
            continue
    return text


def test_sudo_password_reaches_only_sudo(node: Node, tmp_path: Path) -> None:
    hosts = inventory(tmp_path / "hosts.yaml", node, user="prompted")
    play = playbook(tmp_path / "play.yaml", SLOW, become=True)
    log = tmp_path / "ansible.log"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    polls, seen = 0, ""
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "charon.cli.main", "provision", "--json", str(play), "-i", str(hosts), "-vvv"],
            cwd=ROOT,
            env=clean_environment(ANSIBLE_BECOME_PASS=PASSWORD, ANSIBLE_LOG_PATH=str(log), TMPDIR=str(temporary)),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
        while process.poll() is None:
            seen += command_lines_and_environments(process.pid)
            seen += node.run(
                "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '", check=False
            ).stdout
            polls += 1
            time.sleep(0.05)
    assert process.returncode == 0, (tmp_path / "err").read_text()[-3000:]
    assert polls > 10
    assert "become-password-file" in seen
    written = "".join((tmp_path / name).read_text() for name in ("out", "err", "ansible.log"))
    assert "Run as root" in written
    assert [line[:200] for line in seen.splitlines() if PASSWORD in line] == []
    assert PASSWORD not in written
    assert not [path for path in temporary.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    journal = node.run(
        "journalctl --no-pager; cat /var/log/auth.log 2>/dev/null; cat /root/.ansible_async/* 2>/dev/null", check=False
    )
    assert PASSWORD not in journal.stdout


def test_sudo_password_is_prompted_for_if_needed(node: Node, tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: Run id\n  ansible.builtin.command: id -u\n", become=True)
    prompted = inventory(tmp_path / "prompted.yaml", node, user="prompted")
    trusted = inventory(tmp_path / "trusted.yaml", node)
    done = charonctl(play, "-i", trusted)
    assert done.status == 0, done.stderr
    done = charonctl(play, "-i", prompted)
    assert done.status == 2
    assert done.stderr == "error: sudo requires a password and stdin is not a terminal; set ANSIBLE_BECOME_PASS\n"
    child = pexpect.spawn(
        sys.executable, ["-m", "charon.cli.main", "provision", str(play), "-i", str(prompted)], cwd=str(ROOT),
        timeout=60, encoding="utf-8", env=clean_environment(TERM="xterm"), dimensions=(40, 120),
    )  # fmt: skip
    try:
        child.expect("sudo password: ")
        child.sendline(PASSWORD)
        child.expect("node3: 1 ok, 1 changed")
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus == 0
        assert PASSWORD not in (child.before or "")
    finally:
        child.close(force=True)


def test_host_is_reached_as_the_given_user(node: Node, tmp_path: Path) -> None:
    settings = {name: value for name, value in node.host_vars().items() if name != "ansible_user"}
    (tmp_path / "ssh.json").write_text(json.dumps(settings))
    play = playbook(
        tmp_path / "who.yaml",
        """
        - name: Get the user
          ansible.builtin.command: id -un
          register: who
        - name: Print the user
          ansible.builtin.debug:
            msg: "{{ who.stdout }} on {{ inventory_hostname }}"
        """,
    )
    done = charonctl(play, "trusted@node3", "-e", f"@{tmp_path / 'ssh.json'}", ANSIBLE_USER="prompted")
    assert done.status == 0, done.stderr
    assert "trusted on node3" in done.stdout
    done = charonctl(play, "node3", "-e", f"@{tmp_path / 'ssh.json'}", ANSIBLE_USER="prompted")
    assert "prompted on node3" in done.stdout
