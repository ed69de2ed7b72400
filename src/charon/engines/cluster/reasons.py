"""Determine why a pod is not running, as one line for the user."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Objects = Sequence[Mapping[str, Any]]

_PULL_ERRORS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CREATE_ERRORS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_MAX_LOG_LINES = 5


class ReasonKind(StrEnum):
    """Category of the reason why a pod is not running."""

    STARTING = "starting"
    PULLING = "pulling"
    IMAGE = "image"
    UNSCHEDULABLE = "unschedulable"
    VOLUME = "volume"
    CRASH = "crash"
    CONFIGURATION = "configuration"
    NOT_READY = "not-ready"
    ENDING = "ending"
    ENDED = "ended"


_STUCK = frozenset(
    {ReasonKind.IMAGE, ReasonKind.UNSCHEDULABLE, ReasonKind.VOLUME, ReasonKind.CRASH, ReasonKind.CONFIGURATION}
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pod is not running.

    Parameters
    ----------
    kind
        Category of the reason.
    text
        One line for the user.
    detail
        Further lines, such as the end of a log.
    """

    kind: ReasonKind
    text: str
    detail: tuple[str, ...] = ()

    @property
    def stuck(self) -> bool:
        """Whether the pod is unlikely to start without a change by the user."""
        return self.kind in _STUCK


@dataclass(frozen=True, slots=True)
class ClusterQueries:
    """Queries about a pod that is not running; each returns an empty result if the cluster has no information.

    Parameters
    ----------
    events
        Return the events of an object by kind and name, the latest last.
    claim
        Return a PersistentVolumeClaim by name.
    log
        Return the last lines of a container's log by pod, container, and whether the container was restarted; if so,
        return the log of the previous run.
    """

    events: Callable[[str, str], Objects]
    claim: Callable[[str], Mapping[str, Any]]
    log: Callable[[str, str, bool], Sequence[str]]


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is running and ready."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") != "Running":
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def not_ready_reason(pod: Mapping[str, Any], queries: ClusterQueries) -> Reason | None:
    """Return why a pod is not ready; None if it is ready."""
    if is_ready(pod):
        return None
    if pod["metadata"].get("deletionTimestamp"):
        return Reason(ReasonKind.ENDING, "is terminating")
    status = pod.get("status", {})
    name = str(pod["metadata"]["name"])
    return (
        _not_scheduled(pod, queries)
        or _container_reason(pod, queries)
        or _terminated(status)
        or _not_mounted(name, queries)
        or _pulling(name, queries)
        or _in_progress(status)
    )


def _not_scheduled(pod: Mapping[str, Any], queries: ClusterQueries) -> Reason | None:
    conditions = pod.get("status", {}).get("conditions", [])
    condition = next((c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), None)
    if condition is None:
        return None
    message = _one_line(condition.get("message", ""))
    if "PersistentVolumeClaim" in message or "persistentvolumeclaim" in message or "volume" in message:
        claims = list(_pending_claims(pod, queries))
        return Reason(ReasonKind.VOLUME, "; ".join(claims) if claims else f"volume: {message}")
    return Reason(ReasonKind.UNSCHEDULABLE, f"cannot be scheduled: {message}")


def _pending_claims(pod: Mapping[str, Any], queries: ClusterQueries) -> list[str]:
    reasons: list[str] = []
    for volume in pod.get("spec", {}).get("volumes", []):
        name = volume.get("persistentVolumeClaim", {}).get("claimName")
        if not name:
            continue
        claim = queries.claim(name)
        if not claim:
            reasons.append(f"volume: claim {name} does not exist")
        elif claim.get("status", {}).get("phase") != "Bound":
            kind = claim.get("spec", {}).get("storageClassName") or "none (and the cluster has no default)"
            events = queries.events("PersistentVolumeClaim", name)
            cause = f": {_one_line(events[-1].get('message', ''))}" if events else ""
            reasons.append(f"volume: claim {name} is pending, storage class {kind}{cause}")
    return reasons


def container_statuses(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the statuses of a pod's init containers and containers."""
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _container_reason(pod: Mapping[str, Any], queries: ClusterQueries) -> Reason | None:
    for container in container_statuses(pod):
        state = container.get("state", {})
        waiting = state.get("waiting", {})
        reason = waiting.get("reason", "")
        if reason in _PULL_ERRORS:
            return Reason(ReasonKind.IMAGE, _image_error(str(pod["metadata"]["name"]), container, waiting, queries))
        if reason in _CREATE_ERRORS:
            message = _one_line(waiting.get("message", reason))
            return Reason(ReasonKind.CONFIGURATION, f"container {container['name']}: {message}")
        previous: Mapping[str, Any] = container.get("lastState", {}).get("terminated") or {}
        current: Mapping[str, Any] = state.get("terminated") or {}
        crashed = current.get("exitCode") or (previous and not container.get("ready"))
        if reason == "CrashLoopBackOff" or crashed:
            return _crash(pod, container, current or previous, queries)
    return None


def _image_error(pod: str, container: Mapping[str, Any], waiting: Mapping[str, Any], queries: ClusterQueries) -> str:
    image = container.get("image", "")
    # During the back-off, only the event of the failed pull contains the cause.
    failed = [e for e in queries.events("Pod", pod) if e.get("reason") == "Failed" and image in e.get("message", "")]
    cause = failed[-1]["message"] if failed else waiting.get("message", "")
    return f"cannot pull image {image}: {_one_line(cause) or waiting.get('reason', '')}"


def _crash(
    pod: Mapping[str, Any], container: Mapping[str, Any], end: Mapping[str, Any], queries: ClusterQueries
) -> Reason:
    name = container["name"]
    restarts = int(container.get("restartCount", 0))
    killed = end.get("reason") == "OOMKilled"
    cause = "ran out of memory" if killed else f"exited with status {end.get('exitCode', '?')}"
    count = f", restarted {restarts} time{'s' * (restarts != 1)}" if restarts else ""
    restarted = not container.get("state", {}).get("terminated")
    lines = queries.log(str(pod["metadata"]["name"]), name, restarted)
    return Reason(ReasonKind.CRASH, f"container {name} {cause}{count}", tuple(lines[-_MAX_LOG_LINES:]))


def _terminated(status: Mapping[str, Any]) -> Reason | None:
    if status.get("phase") == "Succeeded":
        return Reason(ReasonKind.ENDED, "has completed")
    if status.get("phase") == "Failed":
        cause = status.get("message") or status.get("reason") or "no reason given"
        return Reason(ReasonKind.CRASH, f"failed: {_one_line(cause)}")
    return None


def _not_mounted(pod: str, queries: ClusterQueries) -> Reason | None:
    events = queries.events("Pod", pod)
    if not events:
        return None
    last = events[-1]
    if last.get("reason") in {"FailedMount", "FailedAttachVolume"}:
        return Reason(ReasonKind.VOLUME, f"volume: {_one_line(last.get('message', ''))}")
    if last.get("reason") == "FailedCreatePodSandBox":
        return Reason(ReasonKind.CONFIGURATION, f"the node cannot start the pod: {_one_line(last.get('message', ''))}")
    return None


def _pulling(pod: str, queries: ClusterQueries) -> Reason | None:
    events = queries.events("Pod", pod)
    if events and events[-1].get("reason") == "Pulling":
        return Reason(ReasonKind.PULLING, _one_line(events[-1].get("message", "pulling the image")).lower())
    return None


def _in_progress(status: Mapping[str, Any]) -> Reason:
    if status.get("phase") == "Running":
        return Reason(ReasonKind.NOT_READY, "is running but not ready")
    return Reason(ReasonKind.STARTING, "is starting")


def _one_line(message: str, limit: int = 300) -> str:
    """Return a message as one line of at most `limit` characters."""
    line = " ".join(str(message).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
