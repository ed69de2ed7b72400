"""Run containers of the project's image with runc, restricted as in Kubernetes.

A container runs as the image's user without capabilities. Its root file system is read-only, except for /tmp and /data.
Its network namespace has only the loopback interface.
"""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

USER = 10001
LOOPBACK = {
    "EPICS_PVA_ADDR_LIST": "127.0.0.1",
    "EPICS_PVA_AUTO_ADDR_LIST": "NO",
    "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
}


class Containers:
    """Start the containers of one test."""

    def __init__(self, root: Path, image: dict[str, Any], folder: Path) -> None:
        self.data = folder / "data"
        self.data.mkdir()
        os.chown(self.data, USER, USER)
        self._image, self._root, self._folder = image["config"], root, folder
        self._runc = ["runc", "--root", str(folder / "runc")]
        self._started: list[str] = []

    def start(self, *arguments: str, entrypoint: str | None = None) -> tuple[str, subprocess.Popen[str]]:
        """Start a program of the image; the default is the image's entry point."""
        name = f"charon-test-{uuid.uuid4().hex[:12]}"
        bundle = self._folder / name
        bundle.mkdir()
        program = [entrypoint] if entrypoint else self._image["Entrypoint"]
        (bundle / "config.json").write_text(json.dumps(self._configuration([*program, *arguments], name)))
        self._started.append(name)
        command = [*self._runc, "run", "--bundle", str(bundle), name]
        return name, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(
        self, *arguments: str, entrypoint: str | None = None, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a program of the image and wait until it exits."""
        name, process = self.start(*arguments, entrypoint=entrypoint)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self.kill(name, "KILL")
            out, err = process.communicate()
            raise TimeoutError(f"{arguments} did not exit within {timeout} s: {out[-2000:]} {err[-2000:]}") from None
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def kill(self, name: str, number: str) -> None:
        """Send a signal to a container's first process, as Kubernetes does."""
        subprocess.run([*self._runc, "kill", name, number], check=True, capture_output=True)

    def clean_up(self) -> None:
        """Delete all containers."""
        for name in self._started:
            subprocess.run([*self._runc, "delete", "--force", name], check=False, capture_output=True)

    def _configuration(self, arguments: list[str], name: str) -> dict[str, Any]:
        environment = {**dict(pair.split("=", 1) for pair in self._image["Env"]), **LOOPBACK}
        user, _, group = self._image["User"].partition(":")
        none: dict[str, list[str]] = {kind: [] for kind in ("bounding", "effective", "permitted", "inheritable")}
        tmpfs = {"type": "tmpfs", "source": "tmpfs"}
        restricted = ["nosuid", "nodev", "noexec"]
        # Paths inside the container.
        mounts = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", **tmpfs, "options": ["nosuid", "mode=755", "size=64k"]},
            {"destination": "/dev/shm", **tmpfs, "options": [*restricted, "mode=1777", "size=64m"]},  # noqa: S108
            {"destination": "/tmp", **tmpfs, "options": ["nosuid", "nodev", "mode=1777", "size=256m"]},  # noqa: S108
            {"destination": "/data", "type": "bind", "source": str(self.data), "options": ["bind", "rw"]},
        ]
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": int(user), "gid": int(group)},
                "args": arguments,
                "env": [f"{key}={value}" for key, value in environment.items()],
                "cwd": self._image["WorkingDir"],
                "capabilities": none,
                "noNewPrivileges": True,
            },
            "root": {"path": str(self._root), "readonly": True},
            "hostname": "charon",
            "mounts": mounts,
            "linux": {
                "cgroupsPath": f"/{name}",
                "namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount", "network")],
                "maskedPaths": ["/proc/kcore", "/proc/keys"],
                "readonlyPaths": ["/proc/sys", "/proc/bus"],
            },
        }
