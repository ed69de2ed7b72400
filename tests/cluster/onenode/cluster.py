"""A cluster as tests use it: started, asked, ended."""

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
from onenode.supervisor import CONTROLLERS, remove_groups

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

START_S = 240.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that runs.

    Parameters
    ----------
    kubeconfig
        Of an administrator.
    kubectl
        The program.
    layout
        Where it keeps its files; None for a cluster of the user's.
    pid
        Its first process, as this machine counts; 0 for a cluster of the user's.
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
        """Run kubectl; its exit status is the caller's to look at."""
        return subprocess.run(
            [self.kubectl, *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment,
            check=False,
        )

    def ask(self, *arguments: str, text: str | None = None, timeout: float = 60.0) -> str:
        """Run kubectl and return what it printed.

        Raises
        ------
        AssertionError
            If it fails.
        """
        done = self.run(*arguments, text=text, timeout=timeout)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return an object or a list of them."""
        return json.loads(self.ask("get", *arguments, "-o", "json"))

    def apply(self, *documents: dict[str, Any], namespace: str = "default") -> None:
        """Apply objects."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        self.ask("apply", "-n", namespace, "-f", "-", text=text)

    def inside(self, command: Sequence[str]) -> list[str]:
        """Return the command that runs another in the network of the node; only where the tests made the cluster."""
        assert self.pid, "only in a cluster of the tests' own"
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--", *command]

    def load(self, archive: Path) -> None:
        """Bring an archive of images to the node."""
        assert self.layout is not None, "only in a cluster of the tests' own"
        address = str(self.layout.runtime_socket)
        command = ["ctr", "--address", address, "--namespace", "k8s.io", "images", "import", str(archive)]
        subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def started(images: Sequence[Path]) -> Iterator[Cluster]:
    """Start a cluster with images on its node, and end it.

    Raises
    ------
    RuntimeError
        If it does not come up; what its programs wrote is kept then.
    """
    programs = parts.programs()
    root = Path(tempfile.mkdtemp(prefix="charon-k8s-"))
    layout = Layout(root, programs, root.name)
    listener = socket.create_server(("127.0.0.1", 0))
    pki.make(layout, listener.getsockname()[1])
    told = {
        "root": str(root),
        "programs": str(programs),
        "name": layout.name,
        "listener": listener.fileno(),
        "images": [str(image) for image in images],
    }
    namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--uts", "--ipc"]
    with (layout.logs / "supervisor.log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", *namespaces, sys.executable, "-m", "onenode.supervisor", json.dumps(told)],
            cwd=Path(__file__).resolve().parent.parent,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    listener.close()
    try:
        _await(layout, process)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        yield Cluster(layout.kubeconfig, str(programs / "kubectl"), layout, int(children[0]))
    finally:
        _end(process, layout)
    shutil.rmtree(root, ignore_errors=True)


def _await(layout: Layout, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while not layout.ready.exists():
        failed = layout.root / "failed"
        if failed.exists() or process.poll() is not None or time.monotonic() > deadline:
            why = failed.read_text() if failed.exists() else (layout.logs / "supervisor.log").read_text()[-1500:]
            raise RuntimeError(f"the cluster did not start: {why}")
        time.sleep(0.1)


def _end(process: subprocess.Popen[bytes], layout: Layout) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(30)
    except subprocess.TimeoutExpired:
        # --kill-child ends the first process inside with it, and the kernel all the others.
        process.kill()
        process.wait(10)
    for controller in CONTROLLERS.iterdir():
        remove_groups(controller / layout.name)
