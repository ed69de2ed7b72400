"""Locate kubectl, and the kubeconfig that contains the address of the cluster."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from charon.errors import UsageError
from charon.settings import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

K3S_KUBECONFIG = Path("/etc/rancher/k3s/k3s.yaml")
# Options of kubectl that replace the search for a kubeconfig.
_ADDRESS_OPTIONS = ("--kubeconfig", "--server", "-s")
# Commands of kubectl that do not connect to a cluster.
_OFFLINE_COMMANDS = frozenset({"completion", "config", "help", "kustomize", "options", "plugin"})


@dataclass(frozen=True, slots=True)
class KubectlCommand:
    """Program and kubeconfig with which kubectl is called for one cluster.

    Parameters
    ----------
    program
        ``kubectl``, or ``k3s kubectl``.
    kubeconfig
        Value for the environment variable KUBECONFIG; None if the arguments or the pod's service account provide the
        address.
    """

    program: tuple[str, ...]
    kubeconfig: str | None

    def environment(self) -> dict[str, str]:
        """Return the environment for kubectl."""
        return environment.copy() if self.kubeconfig is None else {**environment.copy(), "KUBECONFIG": self.kubeconfig}


def find_kubectl(arguments: Sequence[str]) -> KubectlCommand:
    """Return the program and the kubeconfig with which to call kubectl.

    Parameters
    ----------
    arguments
        The arguments for kubectl, which may contain the address of the cluster or a command that needs no cluster.

    Raises
    ------
    UsageError
        If there is no kubectl or no readable kubeconfig.
    """
    program = _find_program()
    if environment.get("KUBERNETES_SERVICE_HOST"):
        return KubectlCommand(program, None)  # inside a pod, kubectl uses the service account
    try:
        return KubectlCommand(program, _find_kubeconfig())
    except UsageError:
        # Checked last: what resembles an offline command may be an option's value or an argument of `exec`.
        if _needs_no_kubeconfig(arguments):
            return KubectlCommand(program, None)
        raise


def cluster_configured() -> bool:
    """Return whether a kubectl and a kubeconfig exist; does not connect to the cluster."""
    try:
        find_kubectl(("get",))
    except UsageError:
        return False
    return True


def _find_program() -> tuple[str, ...]:
    for name, subcommand in (("kubectl", ()), ("k3s", ("kubectl",))):
        path = shutil.which(name)
        if path:
            return (path, *subcommand)
    raise UsageError("neither kubectl nor k3s is on the PATH: install kubectl, or provision this node")


def _needs_no_kubeconfig(arguments: Sequence[str]) -> bool:
    names = [argument.partition("=")[0] for argument in arguments]
    if any(option in names for option in (*_ADDRESS_OPTIONS, "--help", "-h", "--client")):
        return True
    command = next((argument for argument in arguments if not argument.startswith("-")), "help")
    return command in _OFFLINE_COMMANDS


def _find_kubeconfig() -> str:
    variable = environment.get("KUBECONFIG")
    if variable:
        # A list of files like PATH; kubectl ignores missing ones.
        files = [Path(part) for part in variable.split(os.pathsep) if part]
        if not any(path.exists() for path in files):
            raise UsageError(f"no cluster: {variable} (from KUBECONFIG) does not exist; correct or unset the variable")
        return variable
    for path in (Path.home() / ".kube" / "config", K3S_KUBECONFIG):
        if _is_file(path):
            if not os.access(path, os.R_OK):
                raise UsageError(f"no cluster: {path} is not readable; copy it to ~/.kube/config as an administrator")
            return str(path)
    raise UsageError(
        f"no cluster: no kubeconfig at ~/.kube/config or {K3S_KUBECONFIG}; set KUBECONFIG to the path of one"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except PermissionError:
        return False
