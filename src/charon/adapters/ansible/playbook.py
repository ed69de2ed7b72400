"""Run ansible-playbook and report its events."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from charon.adapters.ansible.events import Note, Summary, Task, TaskResult, read_event
from charon.adapters.ansible.password_pipe import password_pipe
from charon.adapters.ansible.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

CALLBACK_FOLDER = Path(__file__).parent / "callback"
PASSWORD_VARIABLES = ("ANSIBLE_BECOME_PASS", "ANSIBLE_BECOME_PASSWORD", "ANSIBLE_SUDO_PASS")
"""Variables with a password. Ansible receives the password through a pipe, so its children do not inherit it."""
_INTERRUPT_DELAY_S = 1.0
_TERMINATE_DELAY_S = 10.0


class Playbook:
    """A playbook with its arguments, ready to run.

    Parameters
    ----------
    path
        Path of the playbook.
    arguments
        Further arguments of ansible-playbook.
    environment
        Environment of ansible-playbook; variables with passwords are removed.
    """

    def __init__(self, path: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.path = path
        self.arguments = list(arguments)
        self.environment = child_environment(path, environment)

    def run(self, show: Callable[[Task | TaskResult | Note], None], become_password: str | None = None) -> Summary:
        """Run the playbook, show each event, and return a summary with Ansible's exit status.

        An interrupt is forwarded to Ansible, which stops its tasks; the run then ends with Ansible's exit status.
        """
        summary = Summary()
        started = time.monotonic()
        with ExitStack() as stack:
            command = [str(find_tool("ansible-playbook")), str(self.path), *self.arguments]
            if become_password is not None:
                pipe = stack.enter_context(password_pipe(become_password))
                command += ["--become-password-file", str(pipe)]
            summary.status = self._follow(command, summary, show)
        if summary.status < 0:
            summary.status = 128 - summary.status
        summary.seconds = time.monotonic() - started
        return summary

    def _follow(
        self, command: Sequence[str], summary: Summary, show: Callable[[Task | TaskResult | Note], None]
    ) -> int:
        """Run ansible-playbook and read its events until it exits; return its exit status."""
        reading, writing = os.pipe()
        environment = {**self.environment, "CHARON_ANSIBLE_EVENTS": str(writing)}
        with os.fdopen(reading, encoding="utf-8", errors="replace") as events:
            try:
                process = subprocess.Popen(command, env=environment, pass_fds=[writing])  # noqa: S603
            finally:
                os.close(writing)
            with _forward_signals(process):
                for line in events:
                    _process_event(line, summary, show)
                return process.wait()


def _process_event(line: str, summary: Summary, show: Callable[[Task | TaskResult | Note], None]) -> None:
    event = read_event(line)
    if event is None:
        return
    if isinstance(event, dict):
        summary.hosts = event
        return
    if isinstance(event, TaskResult):
        summary.add(event)
    show(event)


def child_environment(playbook: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Ansible: with Charon's callback plugin, without passwords."""
    child = {name: value for name, value in environment.items() if name not in PASSWORD_VARIABLES}
    plugins = [str(CALLBACK_FOLDER), *filter(None, [child.get("ANSIBLE_CALLBACK_PLUGINS", "")])]
    child["ANSIBLE_CALLBACK_PLUGINS"] = os.pathsep.join(plugins)
    child["ANSIBLE_STDOUT_CALLBACK"] = "charon_events"
    # Ansible looks for ansible.cfg in the working folder, not next to the playbook.
    config = playbook.parent / "ansible.cfg"
    if config.is_file():
        child.setdefault("ANSIBLE_CONFIG", str(config.resolve()))
    return child


@contextmanager
def _forward_signals(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Forward signals to Ansible and wait for it to exit; terminate it if it does not exit in time."""
    timers: list[threading.Timer] = []

    def send_later(delay_s: float, number: int) -> None:
        timer = threading.Timer(delay_s, process.send_signal, [number])
        timer.daemon = True
        timer.start()
        timers.append(timer)

    def forward(number: int, _frame: object) -> None:
        if number != signal.SIGINT:
            process.send_signal(signal.SIGTERM)
        elif not timers:
            # A terminal sends Ctrl-C to Ansible too; a second SIGINT is needed only if Ansible did not get the first.
            send_later(_INTERRUPT_DELAY_S, signal.SIGINT)
        send_later(_TERMINATE_DELAY_S, signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()
