"""The machine, the versions and the commit of a comparison."""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import shutil
import subprocess
from pathlib import Path

import psutil

import charon
from charon.adapters.nats.server import find_program
from charon.comparison.model import Machine
from charon.errors import UsageError

_PACKAGES = ("numpy", "openvino", "onnxruntime", "onnxruntime-gpu", "pvapy", "pynumaflow", "bokeh", "pyarrow")
_CGROUP = Path("/sys/fs/cgroup")
_TIMEOUT_S = 10.0


def this_machine() -> Machine:
    """Return the description of this machine, with the cores and the memory that this process may use."""
    return Machine(
        hostname=platform.node(),
        system=_system(),
        cpu=_cpu(),
        cores=usable_cores(),
        memory_bytes=_memory_bytes(),
        gpus=_gpus(),
    )


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of logical CPUs that this process may use, limited by its affinity and its control group."""
    cores = len(os.sched_getaffinity(0))
    quota, _, period = _read(cgroup / "cpu.max").partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        cores = min(cores, max(1, math.floor(int(quota) / int(period))))
    return cores


def versions() -> dict[str, str]:
    """Return the versions of Charon, Python, nats-server and the packages that affect the figures, by name."""
    found = {"charon": charon.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    server = _nats_server_version()
    return found if server is None else {**found, "nats-server": server}


def commit() -> str | None:
    """Return the commit of the checkout that contains this package, with ``-dirty`` if it has changes.

    None if the package is not in a checkout of its own, for example installed from a wheel.
    """
    root = Path(charon.__file__).parents[2]
    git = shutil.which("git")
    if git is None or _output(git, "-C", str(root), "rev-parse", "--show-toplevel") != str(root.resolve()):
        return None
    head = _output(git, "-C", str(root), "rev-parse", "HEAD")
    if head is None:
        return None
    changes = _output(git, "-C", str(root), "status", "--porcelain", "--untracked-files=no")
    return f"{head}-dirty" if changes else head


def _system() -> str:
    kernel = f"{platform.system()} {platform.release()}"
    try:
        distribution = platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return kernel
    return f"{distribution}, {kernel}" if distribution else kernel


def _cpu() -> str:
    lines = _read(Path("/proc/cpuinfo")).splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_bytes() -> int:
    limit = _read(_CGROUP / "memory.max")
    total = psutil.virtual_memory().total
    return min(total, int(limit)) if limit.isdecimal() else total


def _gpus() -> list[str]:
    program = shutil.which("nvidia-smi")
    names = None if program is None else _output(program, "--query-gpu=name", "--format=csv,noheader")
    return [] if names is None else names.splitlines()


def _nats_server_version() -> str | None:
    try:
        text = _output(find_program(), "--version")
    except UsageError:
        return None
    return None if text is None else text.rpartition(" ")[2].removeprefix("v")


def _output(*command: str) -> str | None:
    """Return the stripped output of a program; None if it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - installed programs with fixed arguments
            command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
