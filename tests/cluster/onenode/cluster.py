"""The interface of a cluster for tests: start it, call kubectl, stop it."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onenode import parts, pki
from onenode.layout import Layout
from onenode.supervisor import CGROUP_CONTROLLERS, remove_cgroups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_START_TIMEOUT_S = 240.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running cluster.

    Parameters
    ----------
    kubeconfig
        Kubeconfig of an administrator.
    kubectl
        Path of kubectl.
    layout
        Paths of its files; None for the user's own cluster.
    pid
        Process id of its first process, as seen from outside its namespace; 0 for the user's own cluster.
    """

    kubeconfig: Path
    kubectl: str
    layout: Layout | None = None
    pid: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process with the cluster's kubeconfig and kubectl."""
        path = f"{Path(self.kubectl).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def run(self, *arguments: str, text: str | None = None, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run kubectl; the caller checks its exit status."""
        return subprocess.run(
            [self.kubectl, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            check=False,
        )

    def call(self, *arguments: str, text: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl and return its output.

        Raises
        ------
        AssertionError
            If kubectl fails.
        """
        done = self.run(*arguments, text=text, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list of objects."""
        return json.loads(self.call("get", *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any], namespace: str = "default") -> None:
        """Apply objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.call("apply", "-n", namespace, "-f", "-", text=text)


@contextlib.contextmanager
def run_cluster(images: Sequence[Path]) -> Iterator[Cluster]:
    """Run a cluster with images on its node, and stop it at the end of the context.

    Raises
    ------
    RuntimeError
        If the cluster does not start; its folder with the logs is then kept.
    """
    programs = parts.programs()
    root = Path(tempfile.mkdtemp(prefix="charon-k8s-"))
    layout = Layout(root, programs, root.name)
    listener = socket.create_server(("127.0.0.1", 0))
    pki.create(layout, listener.getsockname()[1])
    settings = {
        "root": str(root),
        "programs": str(programs),
        "name": layout.name,
        "listener": listener.fileno(),
        "images": [str(image) for image in images],
    }
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--uts", "--ipc"]
    with (layout.logs / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", *namespaces, sys.executable, "-m", "onenode.supervisor", json.dumps(settings)],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    listener.close()
    try:
        _wait_until_ready(layout, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Cluster(layout.kubeconfig, str(programs / "kubectl"), layout, int(children[0]))
    finally:
        _stop(process, layout)
    shutil.rmtree(root, ignore_errors=True)


def _wait_until_ready(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while not layout.ready.exists():
        failed = layout.root / "failed"
        if failed.exists() or process.poll() is not None or time.monotonic() > deadline:
            cause = failed.read_text() if failed.exists() else (layout.logs / "supervisor.log").read_text()[-1500:]
            raise RuntimeError(f"the cluster did not start: {cause}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes], layout: Layout) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        # --kill-child kills the first process inside too, and the kernel then kills all others.
        process.kill()
        process.wait(10)
    for controller in CGROUP_CONTROLLERS.iterdir():
        remove_cgroups(controller / layout.name)
