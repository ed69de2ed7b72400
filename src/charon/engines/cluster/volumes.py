"""The persistent volumes of the inter-step buffers, and making released ones available again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from charon.adapters.kubernetes import Kubectl

STORAGE_CLASS = "charon-local"
_AVAILABLE_S = 30.0
_REMOVE_CLAIM = '[{"op": "remove", "path": "/spec/claimRef"}]'


@dataclass(frozen=True, slots=True)
class Volume:
    """A persistent volume.

    Parameters
    ----------
    name, phase
        As ``Available``, ``Bound`` or ``Released``.
    claim
        ``namespace/name`` of the claim that has or had it; empty without one.
    path
        Folder on the node; empty where it is none.
    """

    name: str
    phase: str
    claim: str
    path: str

    @classmethod
    def from_object(cls, item: Mapping[str, Any]) -> Volume:
        """Return the volume that an object of the cluster's describes."""
        spec = item["spec"]
        claim = spec.get("claimRef") or {}
        return cls(
            name=str(item["metadata"]["name"]),
            phase=str(item.get("status", {}).get("phase", "")),
            claim=f"{claim.get('namespace')}/{claim.get('name')}" if claim else "",
            path=str((spec.get("hostPath") or spec.get("local") or {}).get("path", "")),
        )


def list_volumes(kubectl: Kubectl, storage_class: str) -> list[Volume]:
    """Return the volumes of a storage class, by name."""
    items = kubectl.items("get", "persistentvolumes")
    found = [Volume.from_object(i) for i in items if i["spec"].get("storageClassName") == storage_class]
    return sorted(found, key=lambda volume: volume.name)


def released_volumes(volumes: list[Volume]) -> list[Volume]:
    """Return the volumes whose claim is gone."""
    return [volume for volume in volumes if volume.phase == "Released"]


def reclaim_volumes(
    kubectl: Kubectl, volumes: list[Volume], storage_class: str, report: Callable[[str], None]
) -> list[Volume]:
    """Take the former claim off released volumes, wait until they are available, and return the class's volumes.

    Raises
    ------
    UnavailableError
        If one does not become available.
    """
    for volume in volumes:
        kubectl.text("patch", "persistentvolume", volume.name, "--type=json", f"--patch={_REMOVE_CLAIM}")
        report(f"{volume.name}: the claim {volume.claim} is taken off")
    wanted = {volume.name for volume in volumes}
    deadline = time.monotonic() + _AVAILABLE_S
    while True:
        now = list_volumes(kubectl, storage_class)
        # A claim that waited for a volume may have it already.
        left = [v.name for v in now if v.name in wanted and v.phase not in {"Available", "Bound"}]
        if not left:
            return now
        if time.monotonic() > deadline:
            raise UnavailableError(f"still not available after {_AVAILABLE_S:.0f} s: {', '.join(left)}")
        time.sleep(0.5)
