"""Folders, addresses and names of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the dataclass reads its annotations

NODE = "node-1"
# RFC 2544 reserves this range for tests of network devices, so no real network uses it.
NODE_ADDRESS = "198.18.0.1"
NODE_NETWORK = f"{NODE_ADDRESS}/24"
POD_NETWORK = "10.244.0.0/16"
NODE_PODS = "10.244.0.0/24"
SERVICE_NETWORK = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
API_PORT = 6443
DOMAIN = "cluster.local"
PAUSE_IMAGE = "docker.io/charon-tests/pause:1"


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the files of a cluster.

    Parameters
    ----------
    root
        Folder of the cluster; short, because the length of a socket's path is limited.
    programs
        Folder with the programs of Kubernetes.
    name
        Name of its cgroup in every hierarchy.
    """

    root: Path
    programs: Path
    name: str

    def folder(self, *parts: str) -> Path:
        """Return a folder; create it if it does not exist."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def pki(self) -> Path:
        """Folder of keys, certificates and kubeconfigs."""
        return self.folder("pki")

    @property
    def logs(self) -> Path:
        """Folder with the log of each component."""
        return self.folder("logs")

    @property
    def runtime_socket(self) -> Path:
        """Socket of containerd."""
        return self.root / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        """Kubeconfig for tests, with the address of the forwarded port on loopback."""
        return self.root / "kubeconfig"

    @property
    def ready(self) -> Path:
        """File that is written when the node is ready."""
        return self.root / "ready"
