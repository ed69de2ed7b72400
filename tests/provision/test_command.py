"""``charonctl provision`` itself, on playbooks of the test's own: status, summary, output, secrets, Ctrl-C."""

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

from charon.adapters.ansible import wants_become

if TYPE_CHECKING:
    from collections.abc import Callable

    from node import Node

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(240)]


def playbook(place: Path, tasks: str, become: bool = False) -> Path:
    """Write a playbook with one play."""
    play = f"- name: A play\n  hosts: all\n  gather_facts: false\n  become: {str(become).lower()}\n  tasks:\n"
    place.write_text(play + textwrap.indent(textwrap.dedent(tasks), "    "))
    return place


GOOD = """
- name: Say something
  ansible.builtin.debug:
    msg: where the password is
- name: Write a file
  ansible.builtin.copy:
    content: hello
    dest: "{{ place }}"
    mode: "0600"
- name: Leave out
  ansible.builtin.command: "false"
  when: false
"""


def test_a_run_is_followed_and_summed_up(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", GOOD)
    done = charonctl(play, "-e", f"place={tmp_path / 'made'}")
    assert done.status == 0, done.stderr
    assert (tmp_path / "made").read_text() == "hello"
    lines = done.stdout.splitlines()
    assert lines[:3] == [
        "localhost: 2 ok, 1 changed, 0 failed, 0 unreachable, 1 skipped",
        "  changed: Write a file",
        "where the password is",
    ]
    assert re.fullmatch(r"took \d+ s", lines[3])
    assert done.stderr.splitlines() == ["localhost: ok: Say something", "localhost: changed: Write a file"]
    assert "\x1b" not in done.stdout + done.stderr
    again = charonctl("--json", play, "localhost", "-e", f"place={tmp_path / 'made'}")
    assert again.summary["changed"] == {}
    assert again.summary["hosts"]["localhost"] == {"ok": 2, "changed": 0, "failed": 0, "unreachable": 0, "skipped": 1}


def test_a_task_that_fails_gives_its_message_and_ansibles_status(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: Break\n  ansible.builtin.fail:\n    msg: the pump is off\n")
    done = charonctl(play)
    assert done.status == 2
    assert done.stderr.splitlines() == ["localhost: failed: Break", "  the pump is off"]
    assert "  failed: Break" in done.stdout.splitlines()


def test_a_host_that_cannot_be_reached_gives_ansibles_status(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: Reach it\n  ansible.builtin.ping:\n", become=True)
    # Port 1 of this machine: nothing listens there.
    done = charonctl("--json", play, "nobody@127.0.0.2", "-e", "ansible_port=1")
    assert done.status == 4
    assert done.summary["hosts"]["127.0.0.2"]["unreachable"] == 1
    assert "127.0.0.2: unreachable: Reach it" in done.stderr


def test_what_ansible_cannot_read_gives_its_own_status(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: No such thing\n  no_such_module:\n")
    done = charonctl(play)
    assert done.status not in {0, 2}
    assert "no_such_module" in done.stderr
    assert done.stdout.startswith("nothing was done (Ansible's exit status ")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file"),
        ("a: [", "is not YAML"),
        ("a: b", "is no playbook"),
        ("- a: 2025-13-45", "is not YAML"),
        ("[" * 5000, "is not YAML"),
    ],
)
def test_a_wrong_call_is_one_line_and_status_2(tmp_path: Path, content: str | None, said: str) -> None:
    play = tmp_path / "play.yaml"
    if content is not None:
        play.write_text(content)
    done = charonctl(play)
    assert (done.status, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {play} ")
    assert said in done.stderr


@pytest.mark.timeout(60)
def test_who_becomes_another_is_found_among_aliases(tmp_path: Path) -> None:
    bomb = "".join(f"    a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    play = tmp_path / "play.yaml"
    play.write_text(f"- hosts: all\n  vars: &self\n    a0: &a0 [x, x]\n{bomb}    again: *self\n")
    assert not wants_become(play)
    play.write_text(play.read_text() + "  tasks:\n    - become: true\n")
    assert wants_become(play)


@pytest.mark.parametrize(
    ("name", "content"), [("requirements.yml", "a:\n- [\n"), ("requirements.yml", "a: 2025-13-45")]
)
def test_requirements_that_cannot_be_read_are_one_line(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    done = charonctl(playbook(tmp_path / "play.yaml", GOOD))
    assert (done.status, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith(f"error: {tmp_path / name} cannot be read")


@pytest.mark.parametrize(
    "argument",
    ["ansible_become_pass=x", '{"ansible_password": "x"}', "ansible_become_password: x", "charon_grafana_password=x"],
)
def test_a_password_on_the_command_line_is_refused(tmp_path: Path, argument: str) -> None:
    done = charonctl(playbook(tmp_path / "play.yaml", GOOD), "-e", argument)
    assert done.status == 2
    assert "set ANSIBLE_BECOME_PASS; others go in a file: -e @FILE" in done.stderr


def test_without_ansible_one_line_says_what_to_install(tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", GOOD)
    (tmp_path / "bin").mkdir()
    # A Python with everything but Ansible beside it.
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
        "error: ansible-playbook is missing: pip install ansible-core, or the package ansible of your system\n"
    )


def test_collections_that_are_missing_are_installed_from_the_requirements(tmp_path: Path) -> None:
    collection = tmp_path / "source"
    collection.mkdir()
    (collection / "galaxy.yml").write_text(
        "namespace: charon_tests\nname: told\nversion: 1.2.3\nreadme: R.md\nauthors: [tests]\n"
    )
    (collection / "R.md").write_text("A collection of the tests.\n")
    (collection / "plugins/filter").mkdir(parents=True)
    (collection / "plugins/filter/twice.py").write_text(
        "class FilterModule:\n    def filters(self):\n        return {'twice': lambda text: text * 2}\n"
    )
    bin_folder = f"{sys.executable.rpartition('/')[0]}"
    build = [f"{bin_folder}/ansible-galaxy", "collection", "build", "--output-path", str(tmp_path), str(collection)]
    subprocess.run(build, check=True, capture_output=True)
    (tmp_path / "book").mkdir()
    (tmp_path / "book/requirements.yml").write_text(
        f"collections:\n  - name: {tmp_path}/charon_tests-told-1.2.3.tar.gz\n    type: file\n"
    )
    told = "- name: Say it\n  ansible.builtin.debug:\n    msg: \"{{ 'tick' | charon_tests.told.twice }}\"\n"
    play = playbook(tmp_path / "book/play.yaml", told)
    place = {"ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections")}
    done = charonctl(play, **place)
    assert done.status == 0, done.stderr
    assert "installing collections" in done.stderr
    assert "ticktick" in done.stdout
    (tmp_path / "book/requirements.yml").write_text('collections:\n  - {name: charon_tests.told, version: ">=1.2.0"}\n')
    assert "installing collections" not in charonctl(play, **place).stderr


def test_an_interrupt_goes_on_to_ansible_and_nothing_stays_behind(tmp_path: Path) -> None:
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
        until(lambda: sleeping(seconds))
        # To charonctl alone, as a program would; a terminal tells Ansible too.
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode not in {0, -signal.SIGINT}
        until(lambda: not sleeping(seconds))
    finally:
        process.kill()
        process.wait()
        for pid in sleeping(seconds):
            os.kill(pid, signal.SIGKILL)


def test_on_a_terminal_a_live_line_shows_the_task_and_ctrl_c_ends_it(tmp_path: Path) -> None:
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
        until(lambda: sleeping(seconds))
        child.sendintr()
        child.expect(pexpect.EOF)
        child.wait()
        assert child.exitstatus not in {0, None}
        until(lambda: not sleeping(seconds))
    finally:
        child.close(force=True)
        for pid in sleeping(seconds):
            os.kill(pid, signal.SIGKILL)


def sleeping(seconds: str) -> list[int]:
    """Return the processes that sleep so long: a length that only one test uses."""
    found = subprocess.run(
        ["/usr/bin/pgrep", "-fx", f"sleep {re.escape(seconds)}"], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in found.stdout.split()]


def until(holds: Callable[[], object], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


# Passwords. The node's user "asked" has to give one to sudo.

SLOW = """
- name: Take a while as root
  ansible.builtin.shell: id -u; sleep 2; tr '\\0' '\\n' </proc/self/environ
  register: seen
  changed_when: false
- name: Look at it
  ansible.builtin.assert:
    that: seen.stdout_lines[0] == '0'
- name: Say it
  ansible.builtin.debug:
    var: seen.stdout
"""


@pytest.fixture(scope="module")
def node(boot: Callable[[str], Node]) -> Node:
    return boot("node3")


def everywhere(pid: int) -> str:
    """Return command lines and environments of all processes below one, as /proc shows them."""
    pids, told = [pid], ""
    own = Path(f"/proc/{pid}/cmdline").read_bytes()
    while pids:
        one = Path(f"/proc/{pids.pop()}")
        try:
            pids += [
                int(child) for task in (one / "task").iterdir() for child in (task / "children").read_text().split()
            ]
            command = (one / "cmdline").read_bytes()
            # A child that has not begun its program is still charonctl itself, whose environment is the user's.
            if command != own:
                told += (
                    (command + b" " + (one / "environ").read_bytes() + b"\n")
                    .replace(b"\0", b" ")
                    .decode(errors="replace")
                )
        except OSError:
            # It has ended meanwhile.
            continue
    return told


def test_sudos_password_reaches_sudo_and_nothing_else(node: Node, tmp_path: Path) -> None:
    hosts = inventory(tmp_path / "hosts.yaml", node, user="asked")
    play = playbook(tmp_path / "play.yaml", SLOW, become=True)
    log = tmp_path / "ansible.log"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    looks, seen = 0, ""
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
            seen += everywhere(process.pid)
            seen += node.run(
                "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' ' '", check=False
            ).stdout
            looks += 1
            time.sleep(0.05)
    assert process.returncode == 0, (tmp_path / "err").read_text()[-3000:]
    assert looks > 10
    assert "become-password-file" in seen
    written = "".join((tmp_path / name).read_text() for name in ("out", "err", "ansible.log"))
    assert "Take a while as root" in written
    assert [line[:200] for line in seen.splitlines() if PASSWORD in line] == []
    assert PASSWORD not in written
    assert not [path for path in temporary.rglob("*") if path.is_file() and PASSWORD.encode() in path.read_bytes()]
    journal = node.run(
        "journalctl --no-pager; cat /var/log/auth.log 2>/dev/null; cat /root/.ansible_async/* 2>/dev/null", check=False
    )
    assert PASSWORD not in journal.stdout


def test_sudos_password_is_asked_for_only_where_sudo_wants_one(node: Node, tmp_path: Path) -> None:
    play = playbook(tmp_path / "play.yaml", "- name: Be root\n  ansible.builtin.command: id -u\n", become=True)
    asked = inventory(tmp_path / "asked.yaml", node, user="asked")
    trusted = inventory(tmp_path / "trusted.yaml", node)
    done = charonctl(play, "-i", trusted)
    assert done.status == 0, done.stderr
    done = charonctl(play, "-i", asked)
    assert done.status == 2
    assert done.stderr == "error: sudo asks for a password, and nobody is there to type it: set ANSIBLE_BECOME_PASS\n"
    child = pexpect.spawn(
        sys.executable, ["-m", "charon.cli.main", "provision", str(play), "-i", str(asked)], cwd=str(ROOT), timeout=60,
        encoding="utf-8", env=clean_environment(TERM="xterm"), dimensions=(40, 120),
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


def test_a_host_is_reached_by_ssh_as_the_user_that_is_named(node: Node, tmp_path: Path) -> None:
    settings = {name: value for name, value in node.host_vars().items() if name != "ansible_user"}
    (tmp_path / "ssh.json").write_text(json.dumps(settings))
    say = playbook(
        tmp_path / "say.yaml",
        """
        - name: Who
          ansible.builtin.command: id -un
          register: who
        - name: Say
          ansible.builtin.debug:
            msg: "{{ who.stdout }} on {{ inventory_hostname }}"
        """,
    )
    done = charonctl(say, "trusted@node3", "-e", f"@{tmp_path / 'ssh.json'}", ANSIBLE_USER="asked")
    assert done.status == 0, done.stderr
    assert "trusted on node3" in done.stdout
    done = charonctl(say, "node3", "-e", f"@{tmp_path / 'ssh.json'}", ANSIBLE_USER="asked")
    assert "asked on node3" in done.stdout
