"""Forward a port of the cluster to the loopback interface."""

from __future__ import annotations

import re
import select
import subprocess
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from charon.adapters.kubernetes.kubectl import Kubectl

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_START_TIMEOUT_S = 15.0
_EXIT_TIMEOUT_S = 3.0


class PortForward:
    """Context manager that runs ``kubectl port-forward`` on a free port of the loopback interface.

    Parameters
    ----------
    kubectl
        Client of the cluster.
    namespace, target, port
        The remote end, for example ``service/isbsvc-default-js-svc`` and 4222.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, target: str, port: int) -> None:
        self._kubectl = kubectl
        self._arguments = (
            *("port-forward", "--address=127.0.0.1", "--pod-running-timeout=5s"),
            *(target, f":{port}", f"--namespace={namespace}"),
        )
        self._target = target
        self._running = ExitStack()
        self.port = 0

    def __enter__(self) -> Self:
        """Start forwarding.

        Raises
        ------
        UnavailableError
            If the target does not exist, or forwarding does not start in time.
        """
        with ExitStack() as stack:
            process = stack.enter_context(self._kubectl.start(*self._arguments))
            stack.callback(_terminate, process)
            self.port = self._read_port(process)
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def _read_port(self, process: subprocess.Popen[str]) -> int:
        if process.stdout is None:
            raise UnavailableError(f"cannot connect to {self._target}")
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([process.stdout], [], [], 0.2)[0]:
                match = _FORWARDING.search(process.stdout.readline())
                if match:
                    return int(match[1])
        process.kill()
        raise UnavailableError(f"cannot connect to {self._target}: {_last_error(process)}")


def _terminate(process: subprocess.Popen[str]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_EXIT_TIMEOUT_S)


def _last_error(process: subprocess.Popen[str]) -> str:
    output = "" if process.stderr is None else process.stderr.read()
    lines = output.strip().splitlines()
    return lines[-1].removeprefix("error: ") if lines else "kubectl port-forward did not start in time"
