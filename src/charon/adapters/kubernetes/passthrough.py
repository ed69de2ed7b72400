"""kubectl as it is: its terminal, its signals, its exit status."""

from __future__ import annotations

import signal
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from charon.adapters.kubernetes.kubeconfig import find_kubectl
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


def pass_through(arguments: Sequence[str]) -> int:
    """Run kubectl on this terminal and return its exit status; 128 + the signal where one ended it.

    Raises
    ------
    UsageError
        If there is no kubectl, or no cluster is known.
    UnavailableError
        If kubectl cannot be started.
    """
    place = find_kubectl(arguments)
    try:
        process = subprocess.Popen([*place.program, *arguments], env=place.environment())  # noqa: S603 - what the user typed
    except OSError as error:
        raise UnavailableError(f"{place.program[0]} cannot be started: {error.strerror}") from error
    with process, _signals_are_for(process):
        status = _wait(process)
    return 128 - status if status < 0 else status


def _wait(process: subprocess.Popen[bytes]) -> int:
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            # The terminal told kubectl too: it is the one to end.
            continue


@contextmanager
def _signals_are_for(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Leave Ctrl-C to kubectl, which shares the terminal, and pass SIGTERM and SIGHUP on to it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def pass_on(number: int, _frame: object) -> None:
        process.send_signal(number)

    # A handler, not SIG_IGN: that kubectl would inherit.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda _number, _frame: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, pass_on),
        signal.SIGHUP: signal.signal(signal.SIGHUP, pass_on),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
