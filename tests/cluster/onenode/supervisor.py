"""The first process inside a cluster's namespaces: sets up, starts, watches, ends.

As process 1 of its namespace it takes over every orphan, and when it ends, the kernel ends all the others. It ends
when its standard input does: nothing outlives whoever started it.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from onenode import components
from onenode.layout import API_PORT, NODE, NODE_ADDRESS, NODE_NETWORK, Layout

if TYPE_CHECKING:
    from collections.abc import Callable

# What the kubelet sets for the whole machine.
MACHINE_WIDE = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
CONTROLLERS = Path("/sys/fs/cgroup")
START_S = 180.0


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")


class Supervisor:
    """Runs one cluster.

    Parameters
    ----------
    layout
        Where it keeps its files.
    listener
        A listening socket of the namespace outside; what connects to it is led to the API server.
    images
        Archives to import before pods start.
    """

    def __init__(self, layout: Layout, listener: socket.socket, images: list[Path]) -> None:
        self._layout = layout
        self._listener = listener
        self._images = images
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._ends = False

    def run(self) -> None:
        """Start everything, say so, and wait for the end of the standard input."""
        threading.Thread(target=self._await_end, daemon=True).start()
        self._mounts()
        self._network()
        self._control_groups()
        threading.Thread(target=self._forward, daemon=True).start()
        layout = self._layout
        node = components.node(layout)
        # The images are read in while the control plane starts.
        self._start(node[0])
        self._await(node[0])
        reading = [self._import(image) for image in self._images]
        for component in components.control_plane(layout):
            self._start(component)
            self._await(component)
        for process in reading:
            if process.wait() != 0:
                raise RuntimeError(f"an image cannot be imported, see {layout.logs}/images.log")
        for component in node[1:]:
            self._start(component)
        self._await_node()
        self._await(node[-1])
        part = layout.ready.with_suffix(".part")
        part.write_text(json.dumps({"pid": os.getpid()}))
        part.replace(layout.ready)
        while not self._ends:
            for name, process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended with {process.returncode}, see {layout.logs}/{name}.log")
            self._reap()
            time.sleep(0.2)

    def stop(self) -> None:
        """End the programs in reverse order."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
        self._running.clear()
        self._clear()

    def _clear(self) -> None:
        """Leave nothing behind, also where nobody outside is left to see to it."""
        with contextlib.suppress(ProcessLookupError):
            # To process 1 this is everybody else in here: shims, and what runs in pods.
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        own = [mount for mount in mounts if mount.startswith(f"{self._layout.root}/")]
        for mount in [*reversed(own), "/var/lib", "/var/log"]:
            subprocess.run(["umount", "--lazy", mount], stderr=subprocess.DEVNULL, check=False)
        for controller in CONTROLLERS.iterdir():
            remove_groups(controller / self._layout.name)
        if not (self._layout.root / "failed").exists():
            shutil.rmtree(self._layout.root, ignore_errors=True)

    def _await_end(self) -> None:
        while sys.stdin.buffer.read(4096):
            pass
        self._ends = True

    def _mounts(self) -> None:
        _run("mount", "--make-rshared", "/")
        # Sockets, locks and network namespaces of the cluster's programs, apart from the machine's.
        _run("mount", "-t", "tmpfs", "tmpfs", "/run")
        _run("mount", "--bind", str(self._layout.folder("var-log")), "/var/log")
        upper, work = self._layout.folder("var-lib", "upper"), self._layout.folder("var-lib", "work")
        options = f"lowerdir=/var/lib,upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, "/var/lib")
        # Shared afterwards too: volumes that the kubelet mounts have to be seen by containers.
        _run("mount", "--make-rshared", "/")

    def _network(self) -> None:
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "node0", "type", "veth", "peer", "name", "node1")
        _run("ip", "address", "add", NODE_NETWORK, "dev", "node0")
        for link in ("node0", "node1"):
            _run("ip", "link", "set", link, "up")
        _run("ip", "route", "add", "default", "dev", "node0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _control_groups(self) -> None:
        for controller in CONTROLLERS.iterdir():
            if not controller.is_dir():
                continue
            group = controller / self._layout.name
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                # A new group of cpuset has neither processors nor memory, and takes no process then.
                if (group / setting).exists():
                    (group / setting).write_text((controller / setting).read_text())

    def _start(self, component: components.Component) -> None:
        with (self._layout.logs / f"{component.name}.log").open("ab") as log:
            process = subprocess.Popen(
                component.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **component.environment},
                start_new_session=True,
            )
        self._running.append((component.name, process))

    def _import(self, image: Path) -> subprocess.Popen[bytes]:
        with (self._layout.logs / "images.log").open("ab") as log:
            address = str(self._layout.runtime_socket)
            command = ["ctr", "--address", address, "--namespace", "k8s.io", "images", "import", str(image)]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _await(self, component: components.Component) -> None:
        if component.probe:
            self._until(lambda: self._answers(component.probe), component.name)

    def _await_node(self) -> None:
        kubectl = [f"{self._layout.programs}/kubectl", f"--kubeconfig={self._layout.pki}/admin.kubeconfig"]
        query = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'

        def ready() -> bool:
            command = [*kubectl, "get", "node", NODE, "-o", query]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.stdout.strip() == "True"

        self._until(ready, "kubelet")

    def _until(self, holds: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + START_S
        while not holds():
            for running, process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(
                        f"{running} ended with {process.returncode}, see {self._layout.logs}/{running}.log"
                    )
            if self._ends or time.monotonic() > deadline:
                raise RuntimeError(f"{name} is not ready after {START_S:.0f} s, see {self._layout.logs}/{name}.log")
            time.sleep(0.1)

    def _answers(self, probe: str) -> bool:
        if probe.startswith("/"):
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
                return client.connect_ex(probe) == 0
        trust = ssl.create_default_context(cafile=f"{self._layout.pki}/ca.crt") if probe.startswith("https") else None
        try:
            with urllib.request.urlopen(probe, timeout=2, context=trust) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _reap(self) -> None:
        """Take leave of orphans: shims and what ran in containers."""
        known = {process.pid for _, process in self._running}
        with contextlib.suppress(ChildProcessError):
            while True:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if ended is None or ended.si_pid in known:
                    return
                os.waitpid(ended.si_pid, os.WNOHANG)

    def _forward(self) -> None:
        """Lead what connects outside to the API server inside."""
        while True:
            outside, _ = self._listener.accept()
            threading.Thread(target=_join, args=(outside,), daemon=True).start()


def remove_groups(group: Path) -> None:
    """Remove a folder of control groups from its leaves up; the kernel takes a moment after the last process."""
    deadline = time.monotonic() + 5
    for folder, _, _ in os.walk(group, topdown=False):
        while True:
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.05)
            else:
                break


def _join(outside: socket.socket) -> None:
    with outside:
        try:
            inside = socket.create_connection((NODE_ADDRESS, API_PORT), timeout=10)
        except OSError:
            return
        with inside, selectors.DefaultSelector() as selector:
            inside.settimeout(None)
            selector.register(outside, selectors.EVENT_READ, inside)
            selector.register(inside, selectors.EVENT_READ, outside)
            with contextlib.suppress(OSError):
                while True:
                    for key, _ in selector.select():
                        data = key.fileobj.recv(65536)
                        if not data:
                            return
                        key.data.sendall(data)


def main() -> None:
    """Run a cluster as its description on the command line says."""
    told = json.loads(sys.argv[1])
    layout = Layout(Path(told["root"]), Path(told["programs"]), told["name"])
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    listener = socket.socket(fileno=told["listener"])
    before = {name: (Path("/proc/sys") / name).read_text() for name in MACHINE_WIDE}
    supervisor = Supervisor(layout, listener, [Path(image) for image in told["images"]])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        supervisor.run()
    except RuntimeError as error:
        (layout.root / "failed").write_text(str(error))
        raise
    finally:
        supervisor.stop()
        for name, value in before.items():
            (Path("/proc/sys") / name).write_text(value)


if __name__ == "__main__":
    main()
