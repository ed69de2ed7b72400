"""A port of the cluster on this machine's loopback, for as long as it is needed."""

from __future__ import annotations

import re
import select
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from charon.adapters.kubernetes.kubectl import Kubectl

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_READY_S = 15.0


class PortForward:
    """``kubectl port-forward`` on a free port of loopback.

    Parameters
    ----------
    kubectl
        For which cluster.
    namespace, target, port
        What to reach, as ``service/isbsvc-default-js-svc`` and 4222.
    """

    def __init__(self, kubectl: Kubectl, namespace: str, target: str, port: int) -> None:
        self._kubectl = kubectl
        self._arguments = (
            *("port-forward", "--address=127.0.0.1", "--pod-running-timeout=5s"),
            *(target, f":{port}", f"--namespace={namespace}"),
        )
        self._target = target
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        """Start forwarding.

        Raises
        ------
        UnavailableError
            If the target is not there, or nothing is forwarded in time.
        """
        process = self._process = self._kubectl.start(*self._arguments)
        try:
            self.port = self._read_port(process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(3)
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def _read_port(self, process: subprocess.Popen[str]) -> int:
        if process.stdout is None:
            raise UnavailableError(f"{self._target} cannot be reached")
        deadline = time.monotonic() + _READY_S
        while time.monotonic() < deadline and process.poll() is None:
            if select.select([process.stdout], [], [], 0.2)[0]:
                found = _FORWARDING.search(process.stdout.readline())
                if found:
                    return int(found[1])
        process.kill()
        said = process.stderr.read().strip().splitlines() if process.stderr else []
        words = said[-1].removeprefix("error: ") if said else "no port was forwarded"
        raise UnavailableError(f"{self._target} cannot be reached: {words}")
