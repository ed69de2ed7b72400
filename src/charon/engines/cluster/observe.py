"""Observe a pipeline on a cluster: its vertices, their pods, and why a pod is not running."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from charon.engines.cluster import names
from charon.engines.cluster.reasons import (
    ClusterQueries,
    Reason,
    ReasonKind,
    container_statuses,
    is_ready,
    not_ready_reason,
)
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.adapters.kubernetes import Kubectl


@dataclass(frozen=True, slots=True)
class PodView:
    """State of a pod.

    Parameters
    ----------
    name
        Name of the pod.
    ready
        Whether the pod is running and ready.
    restarts
        Number of restarts, summed over its containers.
    reason
        Why the pod is not ready; None if it is ready.
    """

    name: str
    ready: bool
    restarts: int
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class VertexView:
    """State of a vertex, or of the pipeline's daemon.

    Parameters
    ----------
    name
        Name of the vertex; ``daemon`` for the daemon.
    desired
        Number of replicas that Numaflow requests.
    pods
        Existing pods.
    buffers
        Names of the buffers that the vertex reads.
    """

    name: str
    desired: int
    pods: tuple[PodView, ...] = ()
    buffers: tuple[str, ...] = ()

    @property
    def ready(self) -> int:
        """Number of pods that are ready."""
        return sum(pod.ready for pod in self.pods)

    @property
    def running(self) -> bool:
        """Whether at least the desired number of pods are ready."""
        return self.ready >= self.desired

    def reason(self) -> Reason | None:
        """Return why the vertex is not running: the reason of a stuck pod if there is one, else of the first pod."""
        if self.running:
            return None
        reasons = [pod.reason for pod in self.pods if pod.reason is not None]
        return next(
            (r for r in reasons if r.stuck), reasons[0] if reasons else Reason(ReasonKind.STARTING, "has no pod yet")
        )


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Snapshot of a pipeline on a cluster.

    Parameters
    ----------
    name, namespace
        Name and namespace of the pipeline.
    phase, message
        Status reported by Numaflow; empty until its controller has processed the pipeline.
    desired_phase
        Phase requested by the user.
    drained
        Whether the buffers were empty when the pipeline was paused.
    deleting
        Whether the pipeline is being deleted.
    conditions
        Message of each condition whose status is False, by the condition's type.
    vertices
        In the order of the manifest.
    daemon
        The pipeline's daemon.
    buffers
        Failed pods of the jobs that create or delete buffers.
    buffer_service
        Name of the inter-step buffer service.
    """

    name: str
    namespace: str
    phase: str
    message: str
    desired_phase: str
    drained: bool
    deleting: bool
    conditions: dict[str, str]
    vertices: tuple[VertexView, ...]
    daemon: VertexView
    buffers: tuple[PodView, ...] = ()
    buffer_service: str = names.DEFAULT_BUFFER_SERVICE

    @property
    def running(self) -> bool:
        """Whether every vertex and the daemon are running."""
        return all(vertex.running for vertex in (*self.vertices, self.daemon))

    @property
    def ever_ran(self) -> bool:
        """Whether the pipeline may have accepted frames: its setup succeeded, or a vertex has pods."""
        return self.phase not in {"", "Failed"} or any(vertex.pods for vertex in self.vertices)

    def to_json(self) -> dict[str, object]:
        """Return the view as JSON values."""
        return {**asdict(self), "runs": self.running}


def list_pipelines(kubectl: Kubectl, namespace: str) -> list[str]:
    """Return the names of the pipelines in a namespace."""
    pipelines = kubectl.items("get", names.PIPELINES, f"--namespace={namespace}")
    return sorted(str(item["metadata"]["name"]) for item in pipelines)


def observe(kubectl: Kubectl, name: str, namespace: str) -> ClusterView:
    """Return the state of a pipeline.

    Raises
    ------
    NotFoundOnClusterError
        If the pipeline does not exist.
    UnavailableError
        If the cluster does not respond.
    """
    option = f"--namespace={namespace}"
    pipeline = kubectl.json("get", names.PIPELINES, name, option)
    selector = f"--selector={names.LABEL_PIPELINE}={name}"
    items = kubectl.items("get", f"pods,{names.VERTICES}", option, selector)
    pods = [item for item in items if item["kind"] == "Pod"]
    replicas = {
        str(item["spec"].get("name", "")): int(item["spec"]["replicas"])
        for item in items
        if item["kind"] == "Vertex" and "replicas" in item.get("spec", {})
    }
    return build_view(pipeline, pods, replicas, cluster_queries(kubectl, option))


def build_view(
    pipeline: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], replicas: Mapping[str, int], queries: ClusterQueries
) -> ClusterView:
    """Return the view of a pipeline and its pods.

    Parameters
    ----------
    pipeline, pods
        Objects in the form of the Kubernetes API.
    replicas
        Number of replicas that Numaflow requests, by vertex; for a missing vertex, the minimum of its scale applies.
    queries
        Further queries, for the reasons of pods that are not ready.
    """
    spec, status, meta = pipeline["spec"], pipeline.get("status", {}), pipeline["metadata"]
    grouped: dict[str, list[PodView]] = {}
    for pod in pods:
        labels = pod["metadata"].get("labels", {})
        component = str(labels.get(names.LABEL_COMPONENT, names.COMPONENT_VERTEX))
        key = f"{component}/{labels.get(names.LABEL_VERTEX, '')}"
        grouped.setdefault(key, []).append(_pod_view(pod, queries))
    vertices = tuple(
        VertexView(
            str(vertex["name"]),
            replicas.get(str(vertex["name"]), _min_replicas(vertex)),
            tuple(grouped.get(f"{names.COMPONENT_VERTEX}/{vertex['name']}", [])),
            _buffers(meta, vertex),
        )
        for vertex in spec.get("vertices", [])
    )
    jobs = grouped.get(f"{names.COMPONENT_JOB}/", [])
    return ClusterView(
        name=str(meta["name"]),
        namespace=str(meta["namespace"]),
        phase=str(status.get("phase", "")),
        message=str(status.get("message", "")),
        desired_phase=str(spec.get("lifecycle", {}).get("desiredPhase", "Running")),
        drained=bool(status.get("drainedOnPause", False)),
        deleting="deletionTimestamp" in meta,
        conditions={
            str(c["type"]): str(c.get("message") or c.get("reason") or "")
            for c in status.get("conditions", [])
            if c.get("status") == "False"
        },
        vertices=vertices,
        daemon=VertexView("daemon", 1, tuple(grouped.get(f"{names.COMPONENT_DAEMON}/", []))),
        buffers=tuple(pod for pod in jobs if pod.reason is not None and pod.reason.stuck),
        buffer_service=str(spec.get("interStepBufferServiceName") or names.DEFAULT_BUFFER_SERVICE),
    )


def _min_replicas(vertex: Mapping[str, Any]) -> int:
    """Return the number of replicas that Numaflow starts a vertex with."""
    minimum = vertex.get("scale", {}).get("min")
    return 1 if minimum is None else max(1, int(minimum))


def _buffers(meta: Mapping[str, Any], vertex: Mapping[str, Any]) -> tuple[str, ...]:
    if "source" in vertex:
        return ()
    partitions = range(int(vertex.get("partitions") or 1))
    return tuple(names.buffer_name(meta["namespace"], meta["name"], str(vertex["name"]), k) for k in partitions)


def _pod_view(pod: Mapping[str, Any], queries: ClusterQueries) -> PodView:
    restarts = sum(int(container.get("restartCount", 0)) for container in container_statuses(pod))
    return PodView(str(pod["metadata"]["name"]), is_ready(pod), restarts, not_ready_reason(pod, queries))


def cluster_queries(kubectl: Kubectl, namespace: str) -> ClusterQueries:
    """Return queries through kubectl that return nothing for missing or forbidden objects."""

    def events(kind: str, name: str) -> list[dict[str, Any]]:
        selector = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
        with suppress(UnavailableError):
            return sorted(kubectl.items("get", "events", namespace, selector), key=_event_time)
        return []

    def claim(name: str) -> dict[str, Any]:
        with suppress(UnavailableError):
            return kubectl.json("get", "persistentvolumeclaims", name, namespace)
        return {}

    def log(pod: str, container: str, restarted: bool) -> list[str]:
        for previous in (["--previous"], []) if restarted else ([], ["--previous"]):
            with suppress(UnavailableError):
                text = kubectl.text("logs", pod, f"--container={container}", "--tail=20", namespace, *previous)
                lines = [line.rstrip() for line in text.splitlines() if line.strip()]
                if lines:
                    return lines
        return []

    return ClusterQueries(events, claim, log)


def _event_time(event: Mapping[str, Any]) -> str:
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return next((str(time) for time in times if time), "")
