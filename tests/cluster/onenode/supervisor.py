"""The first process inside a cluster's namespaces: it sets up, starts, watches and stops the programs.

As process 1 of its namespace it adopts every orphan, and when it exits, the kernel kills all other processes. It exits
when its standard input is closed, so that no process outlives the process that started the cluster.
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

# Machine-wide settings that the kubelet changes.
_MACHINE_SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops")
CGROUP_CONTROLLERS = Path("/sys/fs/cgroup")
_START_TIMEOUT_S = 180.0


def _run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout.strip()}")


class Supervisor:
    """Supervise one cluster.

    Parameters
    ----------
    layout
        Paths of its files.
    listener
        A listening socket of the outer network namespace; its connections are forwarded to the API server.
    images
        Archives to import before pods start.
    """

    def __init__(self, layout: Layout, listener: socket.socket, images: list[Path]) -> None:
        self._layout = layout
        self._listener = listener
        self._images = images
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._stopping = False

    def run(self) -> None:
        """Start everything, write the ready file, and run until the standard input is closed."""
        threading.Thread(target=self._watch_stdin, daemon=True).start()
        self._mounts()
        self._network()
        self._cgroups()
        threading.Thread(target=self._forward, daemon=True).start()
        layout = self._layout
        node = components.node(layout)
        # The images are imported while the control plane starts.
        self._start(node[0])
        self._wait_for(node[0])
        imports = [self._import(image) for image in self._images]
        for component in components.control_plane(layout):
            self._start(component)
            self._wait_for(component)
        for process in imports:
            if process.wait() != 0:
                raise RuntimeError(f"importing an image failed, see {layout.logs}/images.log")
        for component in node[1:]:
            self._start(component)
        self._wait_for_node()
        self._wait_for(node[-1])
        partial = layout.ready.with_suffix(".part")
        partial.write_text(json.dumps({"pid": os.getpid()}))
        partial.replace(layout.ready)
        while not self._stopping:
            for name, process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(f"{name} exited with status {process.returncode}, see {layout.logs}/{name}.log")
            self._reap()
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the programs in reverse order."""
        for _, process in reversed(self._running):
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
        self._running.clear()
        self._clean_up()

    def _clean_up(self) -> None:
        """Remove processes, mounts, cgroups and files, even if the process that started the cluster was killed."""
        with contextlib.suppress(ProcessLookupError):
            # From process 1, this kills all others in its namespace: shims and the processes of pods.
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        own_mounts = [mount for mount in mounts if mount.startswith(f"{self._layout.root}/")]
        for mount in [*reversed(own_mounts), "/var/lib", "/var/log"]:
            subprocess.run(["umount", "--lazy", mount], stderr=subprocess.DEVNULL, check=False)
        for controller in CGROUP_CONTROLLERS.iterdir():
            remove_cgroups(controller / self._layout.name)
        if not (self._layout.root / "failed").exists():
            shutil.rmtree(self._layout.root, ignore_errors=True)

    def _watch_stdin(self) -> None:
        while sys.stdin.buffer.read(4096):
            pass
        self._stopping = True

    def _mounts(self) -> None:
        _run("mount", "--make-rshared", "/")
        # Separates sockets, locks and network namespaces of the programs from those of the machine.
        _run("mount", "-t", "tmpfs", "tmpfs", "/run")
        _run("mount", "--bind", str(self._layout.folder("var-log")), "/var/log")
        upper, work = self._layout.folder("var-lib", "upper"), self._layout.folder("var-lib", "work")
        options = f"lowerdir=/var/lib,upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "overlay", "-o", options, "/var/lib")
        # Repeated for the new mounts: containers have to see the volumes that the kubelet mounts.
        _run("mount", "--make-rshared", "/")

    def _network(self) -> None:
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "node0", "type", "veth", "peer", "name", "node1")
        _run("ip", "address", "add", NODE_NETWORK, "dev", "node0")
        for link in ("node0", "node1"):
            _run("ip", "link", "set", link, "up")
        _run("ip", "route", "add", "default", "dev", "node0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")

    def _cgroups(self) -> None:
        for controller in CGROUP_CONTROLLERS.iterdir():
            if not controller.is_dir():
                continue
            group = controller / self._layout.name
            group.mkdir(exist_ok=True)
            for setting in ("cpuset.cpus", "cpuset.mems"):
                # A new cpuset has no CPUs and no memory nodes, and accepts no process until they are set.
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

    def _wait_for(self, component: components.Component) -> None:
        if component.probe:
            self._wait_until(lambda: self._is_ready(component.probe), component.name)

    def _wait_for_node(self) -> None:
        kubectl = [f"{self._layout.programs}/kubectl", f"--kubeconfig={self._layout.pki}/admin.kubeconfig"]
        query = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'

        def ready() -> bool:
            command = [*kubectl, "get", "node", NODE, "-o", query]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            return done.stdout.strip() == "True"

        self._wait_until(ready, "kubelet")

    def _wait_until(self, condition: Callable[[], bool], name: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not condition():
            for running, process in self._running:
                if process.poll() is not None:
                    raise RuntimeError(
                        f"{running} exited with status {process.returncode}, see {self._layout.logs}/{running}.log"
                    )
            if self._stopping or time.monotonic() > deadline:
                raise RuntimeError(
                    f"{name} is not ready after {_START_TIMEOUT_S:.0f} s, see {self._layout.logs}/{name}.log"
                )
            time.sleep(0.1)

    def _is_ready(self, probe: str) -> bool:
        if probe.startswith("/"):
            with contextlib.closing(socket.socket(socket.AF_UNIX)) as client:
                return client.connect_ex(probe) == 0
        context = ssl.create_default_context(cafile=f"{self._layout.pki}/ca.crt") if probe.startswith("https") else None
        try:
            with urllib.request.urlopen(probe, timeout=2, context=context) as response:
                return response.status == 200
        except OSError:
            return False

    def _reap(self) -> None:
        """Reap orphans: shims and processes of containers."""
        known = {process.pid for _, process in self._running}
        with contextlib.suppress(ChildProcessError):
            while True:
                exited = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                if exited is None or exited.si_pid in known:
                    return
                os.waitpid(exited.si_pid, os.WNOHANG)

    def _forward(self) -> None:
        """Forward connections from outside to the API server."""
        while True:
            outside, _ = self._listener.accept()
            threading.Thread(target=_relay, args=(outside,), daemon=True).start()


def remove_cgroups(group: Path) -> None:
    """Remove a cgroup and its children; the kernel frees them some time after the last process exits."""
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


def _relay(outside: socket.socket) -> None:
    with outside:
        try:
            inside = socket.create_connection((NODE_ADDRESS, API_PORT), timeout=10)
        except OSError:
            return
        with inside, selectors.DefaultSelector() as selector:
            inside.settimeout(None)
            selector.register(outside, selectors.EVENT_READ, (outside, inside))
            selector.register(inside, selectors.EVENT_READ, (inside, outside))
            with contextlib.suppress(OSError):
                while True:
                    for key, _ in selector.select():
                        origin, target = key.data
                        data = origin.recv(65536)
                        if not data:
                            return
                        target.sendall(data)


def main() -> None:
    """Run the cluster that the JSON settings on the command line describe."""
    settings = json.loads(sys.argv[1])
    layout = Layout(Path(settings["root"]), Path(settings["programs"]), settings["name"])
    os.environ["PATH"] = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    listener = socket.socket(fileno=settings["listener"])
    machine_settings = {name: (Path("/proc/sys") / name).read_text() for name in _MACHINE_SETTINGS}
    supervisor = Supervisor(layout, listener, [Path(image) for image in settings["images"]])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        supervisor.run()
    except RuntimeError as error:
        (layout.root / "failed").write_text(str(error))
        raise
    finally:
        supervisor.stop()
        for name, value in machine_settings.items():
            (Path("/proc/sys") / name).write_text(value)


if __name__ == "__main__":
    main()
