"""Folders, addresses and names of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - the dataclass reads its annotations

NODE = "node-1"
# RFC 2544's range for tests of network devices: no machine of anybody's network has such an address.
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
    """Where a cluster keeps its files.

    Parameters
    ----------
    root
        Folder of the cluster's own; short, because the paths of sockets are bounded.
    programs
        Folder with the programs of Kubernetes.
    name
        Name of its folder in every hierarchy of control groups.
    """

    root: Path
    programs: Path
    name: str

    def folder(self, *parts: str) -> Path:
        """Return a folder, made where it is not there yet."""
        path = self.root.joinpath(*parts)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def pki(self) -> Path:
        """Keys, certificates and kubeconfigs."""
        return self.folder("pki")

    @property
    def logs(self) -> Path:
        """A log a component."""
        return self.folder("logs")

    @property
    def runtime_socket(self) -> Path:
        """Where containerd listens."""
        return self.root / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        """For tests: speaks to the forwarded port on loopback."""
        return self.root / "kubeconfig"

    @property
    def ready(self) -> Path:
        """Written when the node is ready."""
        return self.root / "ready"
