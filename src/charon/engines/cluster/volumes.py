"""List the persistent volumes of the inter-step buffers, and make released ones available again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from charon.adapters.kubernetes import Kubectl

_AVAILABLE_TIMEOUT_S = 30.0
_POLL_INTERVAL_S = 0.5
_REMOVE_CLAIM = '[{"op": "remove", "path": "/spec/claimRef"}]'


@dataclass(frozen=True, slots=True)
class Volume:
    """A persistent volume.

    Parameters
    ----------
    name
        Name of the volume.
    phase
        Phase reported by Kubernetes, such as ``Available``, ``Bound`` or ``Released``.
    claim
        ``namespace/name`` of the present or former claim; empty if there is none.
    path
        Folder on the node; empty if the volume is not a folder.
    """

    name: str
    phase: str
    claim: str
    path: str

    @classmethod
    def from_object(cls, item: Mapping[str, Any]) -> Volume:
        """Return the volume that an object of the Kubernetes API describes."""
        spec: Mapping[str, Any] = item["spec"]
        claim: Mapping[str, Any] = spec.get("claimRef") or {}
        folder: Mapping[str, Any] = spec.get("hostPath") or spec.get("local") or {}
        return cls(
            name=str(item["metadata"]["name"]),
            phase=str(item.get("status", {}).get("phase", "")),
            claim=f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
            path=str(folder.get("path", "")),
        )


def list_volumes(kubectl: Kubectl, storage_class: str) -> list[Volume]:
    """Return the volumes of a storage class, sorted by name."""
    items = kubectl.items("get", "persistentvolumes")
    volumes = [Volume.from_object(i) for i in items if i["spec"].get("storageClassName") == storage_class]
    return sorted(volumes, key=lambda volume: volume.name)


def released_volumes(volumes: list[Volume]) -> list[Volume]:
    """Return the volumes whose claim was deleted."""
    return [volume for volume in volumes if volume.phase == "Released"]


def reclaim_volumes(
    kubectl: Kubectl, volumes: list[Volume], storage_class: str, report: Callable[[str], None]
) -> list[Volume]:
    """Remove the former claim from released volumes, wait until they are available, and return all of the class.

    Raises
    ------
    UnavailableError
        If a volume does not become available in time.
    """
    for volume in volumes:
        kubectl.text("patch", "persistentvolume", volume.name, "--type=json", f"--patch={_REMOVE_CLAIM}")
        report(f"{volume.name}: removed claim {volume.claim}")
    reclaimed = {volume.name for volume in volumes}
    deadline = time.monotonic() + _AVAILABLE_TIMEOUT_S
    while True:
        current = list_volumes(kubectl, storage_class)
        # A pending claim may bind the volume immediately.
        pending = [v.name for v in current if v.name in reclaimed and v.phase not in {"Available", "Bound"}]
        if not pending:
            return current
        if time.monotonic() > deadline:
            raise UnavailableError(
                f"volumes not available after {_AVAILABLE_TIMEOUT_S:.0f} s: {', '.join(pending)}; retry the command"
            )
        time.sleep(_POLL_INTERVAL_S)
