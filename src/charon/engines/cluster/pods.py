"""Pods that no pipeline owns: whether they are ready, and why they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from charon.engines.cluster.observe import cluster_queries
from charon.engines.cluster.reasons import is_ready, not_ready_reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from charon.adapters.kubernetes import Kubectl

__all__ = ["is_ready", "stuck_reason"]


def stuck_reason(kubectl: Kubectl, namespace: str, pods: Iterable[Mapping[str, Any]]) -> str | None:
    """Return why a pod will not start without a change by the user, in one line; None if all may start."""
    queries = cluster_queries(kubectl, namespace)
    for pod in pods:
        reason = not_ready_reason(pod, queries)
        if reason is not None and reason.stuck:
            return ": ".join((f"pod {pod['metadata']['name']}", reason.text, *reason.detail[-1:]))
    return None
