"""Run kubectl on the user's terminal, with its signals and exit status passed through."""

from __future__ import annotations

import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from charon.adapters.kubernetes.kubeconfig import find_kubectl
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


def pass_through(arguments: Sequence[str]) -> int:
    """Run kubectl on this terminal and return its exit status, or 128 + the number of the signal that ended it.

    Raises
    ------
    UsageError
        If there is no kubectl or no kubeconfig.
    UnavailableError
        If kubectl cannot be started.
    """
    kubectl = find_kubectl(arguments)
    with _forwarded_signals() as forward_to:
        try:
            process = subprocess.Popen([*kubectl.program, *arguments], env=kubectl.environment())  # noqa: S603 - typed by the user
        except OSError as error:
            raise UnavailableError(f"cannot start {kubectl.program[0]}: {error.strerror}") from error
        forward_to(process)
        with process:
            status = _wait(process)
    return 128 - status if status < 0 else status


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # kubectl receives Ctrl-C from the terminal too, and exits on its own.
            continue


@contextmanager
def _forwarded_signals() -> Generator[Callable[[subprocess.Popen[bytes]], None]]:
    """Leave Ctrl-C to kubectl, which shares the terminal, and forward SIGTERM and SIGHUP to it.

    Yields the function that sets the process. A signal that arrives before that is forwarded once the
    process is set, so that it never ends this process alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda _process: None
        return
    processes: list[subprocess.Popen[bytes]] = []
    pending: list[int] = []

    def forward(number: int, _frame: object) -> None:
        if processes:
            processes[0].send_signal(number)
        else:
            pending.append(number)

    def forward_to(process: subprocess.Popen[bytes]) -> None:
        processes.append(process)
        while pending:
            process.send_signal(pending.pop())

    # A handler instead of SIG_IGN, which kubectl would inherit.
    previous = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda _number, _frame: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, forward),
        signal.SIGHUP: signal.signal(signal.SIGHUP, forward),
    }
    try:
        yield forward_to
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
