"""Where the cluster is: the program that speaks to it, and the file that names it."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

K3S_KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
# What says where the cluster is, besides a kubeconfig.
_ADDRESSES = ("--kubeconfig", "--server", "-s")
# Commands of kubectl that ask no cluster.
_OFFLINE = frozenset({"completion", "config", "help", "kustomize", "options", "plugin"})


@dataclass(frozen=True, slots=True)
class KubectlCommand:
    """How to reach a cluster.

    Parameters
    ----------
    program
        ``kubectl``, or ``k3s kubectl``.
    kubeconfig
        Value for the environment variable KUBECONFIG; None where the arguments or the pod itself say it.
    """

    program: tuple[str, ...]
    kubeconfig: str | None

    def environment(self) -> dict[str, str]:
        """Return the environment for kubectl."""
        return dict(os.environ) if self.kubeconfig is None else {**os.environ, "KUBECONFIG": self.kubeconfig}


def find_kubectl(arguments: Sequence[str]) -> KubectlCommand:
    """Return how to reach the cluster.

    Parameters
    ----------
    arguments
        What kubectl will be given: it may name the cluster itself, or ask none.

    Raises
    ------
    UsageError
        If there is no kubectl, or no kubeconfig that can be read.
    """
    program = _program()
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return KubectlCommand(program, None)  # within a pod kubectl finds the cluster by itself
    try:
        return KubectlCommand(program, _kubeconfig())
    except UsageError:
        # What looks as if it needed none may be the value of an option, or for a program in a container.
        if _needs_no_kubeconfig(arguments):
            return KubectlCommand(program, None)
        raise


def cluster_configured() -> bool:
    """Return whether a kubectl and a kubeconfig are found; nothing is asked of the cluster."""
    try:
        find_kubectl(("get",))
    except UsageError:
        return False
    return True


def _program() -> tuple[str, ...]:
    for name, more in (("kubectl", ()), ("k3s", ("kubectl",))):
        found = shutil.which(name)
        if found:
            return (found, *more)
    raise UsageError("no kubectl on the PATH (nor k3s): install it, or provision this node")


def _needs_no_kubeconfig(arguments: Sequence[str]) -> bool:
    given = [argument.partition("=")[0] for argument in arguments]
    if any(name in given for name in (*_ADDRESSES, "--help", "-h", "--client")):
        return True
    first = next((argument for argument in arguments if not argument.startswith("-")), "help")
    return first in _OFFLINE


def _kubeconfig() -> str:
    named = os.environ.get("KUBECONFIG", "")
    if named:
        # Like a search path; kubectl passes over those that are not there.
        files = [Path(part) for part in named.split(os.pathsep) if part]
        if not any(path.exists() for path in files):
            raise UsageError(f"no cluster: KUBECONFIG names {named}, which is not there")
        return named
    for path in (Path.home() / ".kube" / "config", K3S_KUBECONFIG):
        if _is_file(path):
            if not os.access(path, os.R_OK):
                raise UsageError(f"no cluster: {path} cannot be read; copy it to ~/.kube/config as an administrator")
            return str(path)
    raise UsageError(f"no cluster: no kubeconfig in $KUBECONFIG, ~/.kube/config or {K3S_KUBECONFIG}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return False
