"""Why a pod does not run, in a line that says what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Objects = Sequence[Mapping[str, Any]]

_PULL_FAILED = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_LOG_LINES = 5


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a pod does not run.

    Parameters
    ----------
    kind
        One of ``starting``, ``pulling``, ``image``, ``unschedulable``, ``volume``, ``crash``, ``configuration``,
        ``not-ready``, ``ending``, ``ended``.
    text
        For the user.
    detail
        Further lines, as the last ones of a log.
    """

    kind: str
    text: str
    detail: tuple[str, ...] = ()

    @property
    def stuck(self) -> bool:
        """Whether waiting alone is not likely to help."""
        return self.kind in {"image", "unschedulable", "volume", "crash", "configuration"}


@dataclass(frozen=True, slots=True)
class ClusterQueries:
    """What is asked of the cluster about a pod that does not run; each returns nothing where nobody knows.

    Parameters
    ----------
    events
        The events of an object, by kind and name, the latest last.
    claim
        A PersistentVolumeClaim by name.
    log
        The last lines that a container of the pod wrote, of its former life where it ended.
    """

    events: Callable[[str, str], Objects]
    claim: Callable[[str], Mapping[str, Any]]
    log: Callable[[str, str, bool], Sequence[str]]


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod runs and is ready."""
    status = pod.get("status", {})
    if pod["metadata"].get("deletionTimestamp") or status.get("phase") != "Running":
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions", []))


def not_ready_reason(pod: Mapping[str, Any], queries: ClusterQueries) -> Reason | None:
    """Return why a pod does not run; None where it does."""
    if is_ready(pod):
        return None
    if pod["metadata"].get("deletionTimestamp"):
        return Reason("ending", "is ending")
    status = pod.get("status", {})
    name = str(pod["metadata"]["name"])
    return (
        _not_scheduled(pod, queries)
        or _of_a_container(pod, queries)
        or _ended(status)
        or _not_mounted(name, queries)
        or _pulling(name, queries)
        or _otherwise(status)
    )


def _not_scheduled(pod: Mapping[str, Any], queries: ClusterQueries) -> Reason | None:
    conditions = pod.get("status", {}).get("conditions", [])
    found = next((c for c in conditions if c["type"] == "PodScheduled" and c["status"] == "False"), None)
    if found is None:
        return None
    message = _short(found.get("message", ""))
    if "PersistentVolumeClaim" in message or "persistentvolumeclaim" in message or "volume" in message:
        claims = list(_pending_claims(pod, queries))
        return Reason("volume", "; ".join(claims) if claims else f"volume: {message}")
    return Reason("unschedulable", f"no node takes it: {message}")


def _pending_claims(pod: Mapping[str, Any], queries: ClusterQueries) -> list[str]:
    found: list[str] = []
    for volume in pod.get("spec", {}).get("volumes", []):
        name = volume.get("persistentVolumeClaim", {}).get("claimName")
        if not name:
            continue
        claim = queries.claim(name)
        if not claim:
            found.append(f"volume: the claim {name} is not there")
        elif claim.get("status", {}).get("phase") != "Bound":
            kind = claim.get("spec", {}).get("storageClassName") or "none (and the cluster has no default)"
            events = queries.events("PersistentVolumeClaim", name)
            why = f": {_short(events[-1].get('message', ''))}" if events else ""
            found.append(f"volume: the claim {name} is pending, storage class {kind}{why}")
    return found


def _containers(pod: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _of_a_container(pod: Mapping[str, Any], queries: ClusterQueries) -> Reason | None:
    for container in _containers(pod):
        state = container.get("state", {})
        waiting = state.get("waiting", {})
        reason = waiting.get("reason", "")
        if reason in _PULL_FAILED:
            return Reason("image", _image_fault(str(pod["metadata"]["name"]), container, waiting, queries))
        if reason in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
            return Reason("configuration", f"container {container['name']}: {_short(waiting.get('message', reason))}")
        last = container.get("lastState", {}).get("terminated") or {}
        now = state.get("terminated") or {}
        if reason == "CrashLoopBackOff" or (now and now.get("exitCode")) or (last and not container.get("ready")):
            return _crash(pod, container, now or last, queries)
    return None


def _image_fault(pod: str, container: Mapping[str, Any], waiting: Mapping[str, Any], queries: ClusterQueries) -> str:
    image = container.get("image", "")
    # Once it backs off, the container's own message no longer says why; the event of the failed pull does.
    failed = [e for e in queries.events("Pod", pod) if e.get("reason") == "Failed" and image in e.get("message", "")]
    why = failed[-1]["message"] if failed else waiting.get("message", "")
    return f"the image {image} cannot be pulled: {_short(why) or waiting.get('reason', '')}"


def _crash(
    pod: Mapping[str, Any], container: Mapping[str, Any], end: Mapping[str, Any], queries: ClusterQueries
) -> Reason:
    name = container["name"]
    restarts = int(container.get("restartCount", 0))
    how = "ran out of memory" if end.get("reason") == "OOMKilled" else f"ended with status {end.get('exitCode', '?')}"
    again = f", restarted {restarts} times" if restarts else ""
    ended_before = not container.get("state", {}).get("terminated")
    lines = queries.log(str(pod["metadata"]["name"]), name, ended_before)
    return Reason("crash", f"container {name} {how}{again}", tuple(lines[-_LOG_LINES:]))


def _ended(status: Mapping[str, Any]) -> Reason | None:
    if status.get("phase") == "Succeeded":
        return Reason("ended", "has ended")
    if status.get("phase") == "Failed":
        return Reason("crash", f"failed: {_short(status.get('message') or status.get('reason') or 'nobody says why')}")
    return None


def _not_mounted(pod: str, queries: ClusterQueries) -> Reason | None:
    events = queries.events("Pod", pod)
    if not events:
        return None
    last = events[-1]
    if last.get("reason") in {"FailedMount", "FailedAttachVolume"}:
        return Reason("volume", f"volume: {_short(last.get('message', ''))}")
    if last.get("reason") == "FailedCreatePodSandBox":
        return Reason("configuration", f"the node cannot start it: {_short(last.get('message', ''))}")
    return None


def _pulling(pod: str, queries: ClusterQueries) -> Reason | None:
    events = queries.events("Pod", pod)
    if events and events[-1].get("reason") == "Pulling":
        return Reason("pulling", _short(events[-1].get("message", "pulling the image")).lower())
    return None


def _otherwise(status: Mapping[str, Any]) -> Reason:
    if status.get("phase") == "Running":
        return Reason("not-ready", "runs and is not ready yet")
    return Reason("starting", "is starting")


def _short(message: str, limit: int = 300) -> str:
    """Return a message in one line of bounded length."""
    line = " ".join(str(message).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
