"""The programs of a cluster: Debian's packages, and Kubernetes's own, built once and kept in the user's cache."""

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
# Its dependencies and Kubernetes's do not agree: it is built by itself.
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
    """Return the folder for what is built once."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "charon" / "cluster"


def missing_packages() -> list[str]:
    """Return the Debian packages without which no cluster can be started here."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = {package for program, package in SYSTEM.items() if shutil.which(program, path=path) is None}
    if not (CNI / "ptp").exists():
        missing.add("containernetworking-plugins")
    return sorted(missing)


def programs() -> Path:
    """Return the folder with Kubernetes's programs, after building those that are not there.

    A first build takes about 12 minutes of processor time and 2 GB of memory.

    Raises
    ------
    RuntimeError
        If there is no Go, or a program cannot be built.
    """
    described = b"".join((MODULE / name).read_bytes() for name in ("go.mod", "go.sum"))
    folder = cache() / hashlib.sha256(described + DNS.encode()).hexdigest()[:16]
    wanted = [name for name in BUILT if not (folder / name).exists()]
    if not wanted and (folder / "coredns").exists():
        return folder
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("Kubernetes's programs are built with Go, which is not on the PATH")
    found = re.search(rb"k8s\.io/kubernetes (v1\.(\d+)\.\d+)", described)
    if found is None:
        raise RuntimeError(f"{MODULE}/go.mod names no version of k8s.io/kubernetes")
    base = "k8s.io/component-base/version"
    version = f"-X {base}.gitVersion={found[1].decode()} -X {base}.gitMajor=1 -X {base}.gitMinor={found[2].decode()}"
    print(f"building Kubernetes {found[1].decode()} and {DNS} into {folder} (once)", file=sys.stderr, flush=True)
    part = folder.with_name(f"{folder.name}.{os.getpid()}")
    part.mkdir(parents=True, exist_ok=True)
    common = ["-trimpath", f"-ldflags=-s -w {version}"]
    if wanted:
        _go(go, ["build", *common, "-o", f"{part}/", *(BUILT[name] for name in wanted)], MODULE, part)
    _go(go, ["install", *common, DNS], part, part)
    folder.mkdir(exist_ok=True)
    for program in part.iterdir():
        # Whole or not at all: another run may be looking.
        program.replace(folder / program.name)
    part.rmdir()
    return folder


def _go(go: str, arguments: list[str], where: Path, target: Path) -> None:
    done = subprocess.run(
        [go, *arguments],
        cwd=where,
        env={**os.environ, "CGO_ENABLED": "0", "GOBIN": str(target)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"a program of the cluster's cannot be built: {done.stdout[-2000:]}")
