"""A node to provision: Debian, booted with systemd in its own namespaces and reached by SSH.

mmdebstrap builds the base system once, outside the tree, and each node is an overlay on it. A node's network has only
loopback; SSH enters through the network namespace, so this machine's network does not change.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "charon" / "provision"
CGROUPS = Path("/sys/fs/cgroup/systemd") if Path("/sys/fs/cgroup/systemd").is_dir() else Path("/sys/fs/cgroup")

SYSTEM = (
    "systemd,systemd-sysv,dbus,python3,python3-apt,python3-firewall,sudo,openssh-server,ufw,firewalld,nftables,iptables,"
    "iproute2,procps,kmod"
)
# Packages of the role packages; they are in apt's cache, so that apt needs no network.
DOWNLOADED = "ca-certificates conntrack curl ethtool iptables python3-yaml socat tar"
PASSWORD = "sesame-of-the-tests"  # noqa: S105 - of a user of a test's node
PREPARE = f"""
set -eu
apt-get install --yes --download-only --no-install-recommends {DOWNLOADED}
useradd --create-home --shell /bin/bash --groups sudo prompted
useradd --create-home --shell /bin/bash trusted
echo 'trusted ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/trusted
echo 'prompted:{PASSWORD}' | chpasswd
systemctl mask getty.target console-getty.service systemd-udevd.service systemd-timesyncd.service
systemctl mask apt-daily.timer apt-daily-upgrade.timer systemd-networkd.service systemd-resolved.service
systemctl disable firewalld ufw ssh
# All nodes share one host key; generating one takes a second.
systemctl enable ssh
"""
PROXY = """
import os, socket, sys, threading
connection = socket.create_connection(("127.0.0.1", 22))
def forward_input():
    while data := os.read(0, 65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)
threading.Thread(target=forward_input, daemon=True).start()
while data := connection.recv(65536):
    os.write(1, data)
"""


def require_nodes() -> None:
    """Skip with the reason if this machine cannot boot nodes."""
    if os.geteuid() != 0:
        pytest.skip("booting a node in namespaces needs root")
    packages = {"mmdebstrap": "mmdebstrap", "ssh": "openssh-client", "nsenter": "util-linux", "ip": "iproute2"}
    missing = [package for program, package in packages.items() if shutil.which(program) is None]
    if missing:
        pytest.skip(f"missing packages {', '.join(missing)}: apt-get install {' '.join(missing)}")


def base_system() -> Path:
    """Return the folder of the base system; the first call builds it, which takes about 30 s."""
    recipe = hashlib.sha256(f"{SYSTEM}\n{PREPARE}".encode()).hexdigest()[:12]
    base = CACHE / f"base-{recipe}"
    if base.is_dir():
        return base
    CACHE.mkdir(parents=True, exist_ok=True)
    part = CACHE / f"part-{os.getpid()}"
    command = ["mmdebstrap", "--variant=minbase", f"--include={SYSTEM}", "--skip=cleanup/apt", "--mode=root"]
    command += [f'--customize-hook=chroot "$1" sh -c {quote(PREPARE)}', "bookworm", str(part)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        shutil.rmtree(part, ignore_errors=True)
        raise RuntimeError(f"mmdebstrap failed: {done.stderr[-2000:]}")
    with contextlib.suppress(OSError):
        part.rename(base)
    shutil.rmtree(part, ignore_errors=True)
    return base


def quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


class Node:
    """A booted node.

    Parameters
    ----------
    name
        Host name, and name in the inventory.
    folder
        Empty folder for the overlay.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.work = folder / name
        self.work.mkdir(parents=True)
        self.group = CGROUPS / f"charon-test-{os.getpid()}-{name}-{time.monotonic_ns()}"
        self.key = folder / f"{name}.key"
        self.pid = 0
        self._outer: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """The node's root folder as seen from this machine."""
        return Path(f"/proc/{self.pid}/root")

    def start(self) -> None:
        """Boot the node and wait until SSH is running."""
        self.group.mkdir()
        arguments = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "--fork", "--kill-child"]
        command = [*arguments, "sh", str(HERE / "boot.sh"), str(base_system()), str(self.work)]
        join = f'echo $$ >"{self.group}/cgroup.procs" && exec "$@"'
        with (self.work.parent / f"{self.name}.console").open("wb") as console:
            self._outer = subprocess.Popen(
                ["/bin/sh", "-c", join, "sh", *command],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not self._booted():
            if time.monotonic() > deadline or self._outer.poll() is not None:
                console_text = (self.work.parent / f"{self.name}.console").read_text(errors="replace")
                raise RuntimeError(f"{self.name} did not boot: {console_text[-2000:]}")
            time.sleep(0.1)
        self._install_key()

    def _booted(self) -> bool:
        assert self._outer is not None
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text().split()
        if not children:
            return False
        self.pid = int(children[0])
        if Path(f"/proc/{self.pid}/comm").read_text().strip() != "systemd":
            return False
        return self.run("systemctl is-active ssh", check=False).stdout.strip() == "active"

    def _install_key(self) -> None:
        subprocess.run(["/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)], check=True)
        public = Path(f"{self.key}.pub").read_text()
        self.run(
            "for user in root trusted prompted; do home=$(getent passwd $user | cut -d: -f6); "
            f"mkdir -p -m 700 $home/.ssh; echo '{public.strip()}' >$home/.ssh/authorized_keys; "
            "chown -R $user: $home/.ssh; done; "
            "mkdir -p /var/lib/apt/periodic; touch /var/lib/apt/periodic/update-success-stamp"
        )

    def inside(self, *command: str) -> list[str]:
        """Return a command that runs the given command inside the node."""
        return ["nsenter", "-t", str(self.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", *command]

    def run(self, script: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell script inside the node as root."""
        done = subprocess.run(
            self.inside("sh", "-c", script),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=60,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"{script!r} failed in {self.name}: {done.stderr}{done.stdout}")
        return done

    def ssh_arguments(self) -> str:
        """Return the options for SSH to reach the node through its network namespace."""
        proxy = self.key.parent / "proxy.py"
        proxy.write_text(PROXY)
        known = self.key.parent / "known_hosts"
        return (
            f"-o 'ProxyCommand=nsenter -t {self.pid} -n {sys.executable} {proxy}' -o StrictHostKeyChecking=accept-new "
            f"-o UserKnownHostsFile={known} -o HostKeyAlias={self.name} -o IdentitiesOnly=yes"
        )

    def host_vars(self, user: str = "trusted") -> dict[str, str]:
        """Return the node's variables for an inventory."""
        return {
            # The proxy ignores the name; Ansible reuses connections by name.
            "ansible_host": f"{self.name}-{self.pid}.test",
            "ansible_user": user,
            "ansible_ssh_private_key_file": str(self.key),
            "ansible_ssh_common_args": self.ssh_arguments(),
            "ansible_python_interpreter": "/usr/bin/python3",
        }

    def stop(self) -> None:
        """Stop the node with all its processes."""
        if self._outer is not None:
            with contextlib.suppress(ProcessLookupError):
                # The end of its first process ends the PID namespace.
                os.kill(self.pid or self._outer.pid, signal.SIGKILL)
            self._outer.wait(30)
        for folder in [*sorted(self.group.rglob("*"), reverse=True), self.group]:
            if folder.is_dir():
                with contextlib.suppress(OSError):
                    folder.rmdir()
        shutil.rmtree(self.work, ignore_errors=True)
