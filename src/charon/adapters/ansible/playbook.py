"""One run of ansible-playbook, followed task by task."""

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
from charon.adapters.ansible.secret import secret_pipe
from charon.adapters.ansible.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

CALLBACK_FOLDER = Path(__file__).parent / "callback"
PASSWORD_VARIABLES = ("ANSIBLE_BECOME_PASS", "ANSIBLE_BECOME_PASSWORD", "ANSIBLE_SUDO_PASS")
"""Where a password may come from. It goes on by a pipe; what Ansible starts does not inherit it."""


class Playbook:
    """A playbook with its arguments, ready to run.

    Parameters
    ----------
    path
        The playbook.
    arguments
        Further arguments of ansible-playbook.
    environment
        What ansible-playbook finds in its environment; variables with passwords are taken out.
    """

    def __init__(self, path: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.path = path
        self.arguments = list(arguments)
        self.environment = child_environment(path, environment)

    def run(self, show: Callable[[Task | TaskResult | Note], None], become_password: str | None = None) -> Summary:
        """Run to the end, showing each event; return what it did, with Ansible's own exit status.

        An interrupt goes on to Ansible, which ends what it does; the run is then over with its exit status.
        """
        summary = Summary()
        began = time.monotonic()
        with ExitStack() as stack:
            command = [str(find_tool("ansible-playbook")), str(self.path), *self.arguments]
            if become_password is not None:
                command += ["--become-password-file", str(stack.enter_context(secret_pipe(become_password)))]
            reading, writing = os.pipe()
            environment = {**self.environment, "CHARON_ANSIBLE_EVENTS": str(writing)}
            with os.fdopen(reading, encoding="utf-8", errors="replace") as events:
                try:
                    process = subprocess.Popen(command, env=environment, pass_fds=[writing])  # noqa: S603
                finally:
                    os.close(writing)
                with _passing_on_signals(process):
                    for line in events:
                        _take(line, summary, show)
                    summary.status = process.wait()
        if summary.status < 0:
            summary.status = 128 - summary.status
        summary.seconds = time.monotonic() - began
        return summary


def _take(line: str, summary: Summary, show: Callable[[Task | TaskResult | Note], None]) -> None:
    event = read_event(line)
    if event is None:
        return
    if isinstance(event, dict):
        summary.hosts = event
        return
    if isinstance(event, TaskResult):
        summary.take(event)
    show(event)


def child_environment(playbook: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Ansible: with our callback, without passwords."""
    child = {name: value for name, value in environment.items() if name not in PASSWORD_VARIABLES}
    plugins = [str(CALLBACK_FOLDER), *filter(None, [child.get("ANSIBLE_CALLBACK_PLUGINS", "")])]
    child["ANSIBLE_CALLBACK_PLUGINS"] = os.pathsep.join(plugins)
    child["ANSIBLE_STDOUT_CALLBACK"] = "charon_events"
    # A child beyond the playbook's folder would not find the settings that lie beside it.
    settings = playbook.parent / "ansible.cfg"
    if settings.is_file():
        child.setdefault("ANSIBLE_CONFIG", str(settings.resolve()))
    return child


@contextmanager
def _passing_on_signals(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Let Ansible end by itself when we are told to; help where it does not."""
    timers: list[threading.Timer] = []

    def later(seconds: float, number: int) -> None:
        timer = threading.Timer(seconds, process.send_signal, [number])
        timer.daemon = True
        timer.start()
        timers.append(timer)

    def told(number: int, _frame: object) -> None:
        if number != signal.SIGINT:
            process.send_signal(signal.SIGTERM)
        elif not timers:
            # A terminal sends Ctrl-C to Ansible too. Where it came to us alone, Ansible is still there.
            later(1.0, signal.SIGINT)
        later(10.0, signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, told) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for timer in timers:
            timer.cancel()
