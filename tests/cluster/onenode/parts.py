"""The programs of a cluster: from Debian packages, and those of Kubernetes, built once and cached for the user."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parent.parent / "parts"
BUILT = {
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
# Built separately, because its dependencies conflict with those of Kubernetes.
DNS = "github.com/coredns/coredns@v1.12.0"
SYSTEM = {
    "etcd": "etcd-server",
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
}
CNI = Path("/usr/lib/cni")


def cache() -> Path:
    """Return the cache folder."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "charon" / "cluster"


def missing_packages() -> list[str]:
    """Return the missing Debian packages that a cluster needs."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for program, package in SYSTEM.items() if shutil.which(program, path=path) is None}
    if not (CNI / "ptp").exists():
        missing.add("containernetworking-plugins")
    return sorted(missing)


def programs() -> Path:
    """Return the folder with the programs of Kubernetes; missing ones are built first.

    A first build takes about 12 minutes of CPU time and 2 GB of memory.

    Raises
    ------
    RuntimeError
        If Go is missing, or a build fails.
    """
    module = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = cache() / hashlib.sha256(module + DNS.encode()).hexdigest()[:16]
    missing = [name for name in BUILT if not (folder / name).exists()]
    if not missing and (folder / "coredns").exists():
        return folder
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("building Kubernetes needs Go, which is not on the PATH: install the package golang-go")
    match = re.search(rb"k8s\.io/kubernetes (v1\.(\d+)\.\d+)", module)
    if match is None:
        raise RuntimeError(f"{MODULE}/go.mod does not require k8s.io/kubernetes")
    base = "k8s.io/component-base/version"
    version = f"-X {base}.gitVersion={match[1].decode()} -X {base}.gitMajor=1 -X {base}.gitMinor={match[2].decode()}"
    print(f"building Kubernetes {match[1].decode()} and {DNS} into {folder} (once)", file=sys.stderr, flush=True)
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(parents=True, exist_ok=True)
    common = ["-trimpath", f"-ldflags=-s -w {version}"]
    if missing:
        _go(go, ["build", *common, "-o", f"{partial}/", *(BUILT[name] for name in missing)], MODULE, partial)
    _go(go, ["install", *common, DNS], partial, partial)
    folder.mkdir(exist_ok=True)
    for program in partial.iterdir():
        # Atomic, because another run may use the folder.
        program.replace(folder / program.name)
    partial.rmdir()
    return folder


def _go(go: str, arguments: list[str], cwd: Path, target: Path) -> None:
    done = subprocess.run(
        [go, *arguments],
        cwd=cwd,
        env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(target)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"go {arguments[0]} failed: {done.stdout[-2000:]}")
