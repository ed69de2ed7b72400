"""The state of a pipeline on a cluster: its vertices, their pods, and why one does not run."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from charon.engines.cluster import names
from charon.engines.cluster.reasons import ClusterQueries, Reason, is_ready, not_ready_reason
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from charon.adapters.kubernetes import Kubectl


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod.

    Parameters
    ----------
    name
        Of the pod.
    ready
        Whether it runs and is ready.
    restarts
        Of all its containers together.
    reason
        Why it does not run; None where it does.
    """

    name: str
    ready: bool
    restarts: int
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class VertexView:
    """A vertex, or the pipeline's daemon.

    Parameters
    ----------
    name
        Of the vertex; ``daemon`` for the daemon.
    desired
        How many replicas there should be.
    pods
        Those that are there.
    buffers
        Names of the buffers that it reads.
    """

    name: str
    desired: int
    pods: tuple[PodView, ...] = ()
    buffers: tuple[str, ...] = ()

    @property
    def ready(self) -> int:
        """How many pods are ready."""
        return sum(pod.ready for pod in self.pods)

    @property
    def runs(self) -> bool:
        """Whether there are as many ready pods as there should be."""
        return self.ready >= self.desired

    def reason(self) -> Reason | None:
        """Return why the vertex does not run: the gravest of its pods' reasons."""
        if self.runs:
            return None
        reasons = [pod.reason for pod in self.pods if pod.reason is not None]
        return next((r for r in reasons if r.stuck), reasons[0] if reasons else Reason("starting", "has no pod yet"))


@dataclass(frozen=True, slots=True)
class ClusterView:
    """A pipeline on a cluster at one moment.

    Parameters
    ----------
    name, namespace
        Of the pipeline.
    phase, message
        What Numaflow says of it; empty where nothing has acted on it yet.
    desired_phase
        What it is to become.
    drained
        Whether it was empty when it was paused.
    deleting
        Whether it is being deleted.
    conditions
        Those of the pipeline's conditions that do not hold, by name, with their message.
    vertices
        In the order of the manifest.
    daemon
        The pipeline's daemon.
    buffers
        Pods that make or delete buffers and have failed.
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
    manifest: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @property
    def runs(self) -> bool:
        """Whether every vertex and the daemon run."""
        return all(vertex.runs for vertex in (*self.vertices, self.daemon))

    @property
    def ever_ran(self) -> bool:
        """Whether something may have been accepted: it got beyond being set up, or has pods."""
        return self.phase not in {"", "Failed"} or any(vertex.pods for vertex in self.vertices)

    def to_json(self) -> dict[str, Any]:
        """Return the view as JSON values, without the manifest."""
        document = asdict(self)
        del document["manifest"]
        document["runs"] = self.runs
        return document


def list_pipelines(kubectl: Kubectl, namespace: str) -> list[str]:
    """Return the names of a namespace's pipelines."""
    found = kubectl.items("get", names.PIPELINES, f"--namespace={namespace}")
    return sorted(str(item["metadata"]["name"]) for item in found)


def observe(kubectl: Kubectl, name: str, namespace: str) -> ClusterView:
    """Return the state of a pipeline.

    Raises
    ------
    NotFoundOnClusterError
        If there is no such pipeline.
    UnavailableError
        If the cluster does not answer.
    """
    here = f"--namespace={namespace}"
    pipeline = kubectl.json("get", names.PIPELINES, name, here)
    selector = f"--selector={names.LABEL_PIPELINE}={name}"
    found = kubectl.items("get", f"pods,{names.VERTICES}", here, selector)
    pods = [item for item in found if item["kind"] == "Pod"]
    replicas = {
        str(item["spec"].get("name", "")): int(item["spec"]["replicas"])
        for item in found
        if item["kind"] == "Vertex" and "replicas" in item.get("spec", {})
    }
    return build_view(pipeline, pods, replicas, _cluster_queries(kubectl, here))


def build_view(
    pipeline: Mapping[str, Any], pods: Sequence[Mapping[str, Any]], replicas: Mapping[str, int], queries: ClusterQueries
) -> ClusterView:
    """Put a pipeline and its pods together.

    Parameters
    ----------
    pipeline, pods
        Objects as the cluster gives them.
    replicas
        How many replicas Numaflow wants of a vertex, where it says so.
    queries
        For the reasons of pods that do not run.
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
            replicas.get(str(vertex["name"]), _least(vertex)),
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
        manifest=dict(pipeline),
    )


def _least(vertex: Mapping[str, Any]) -> int:
    """Return how many replicas of a vertex Numaflow starts with."""
    least = vertex.get("scale", {}).get("min")
    return 1 if least is None else max(1, int(least))


def _buffers(meta: Mapping[str, Any], vertex: Mapping[str, Any]) -> tuple[str, ...]:
    if "source" in vertex:
        return ()
    partitions = range(int(vertex.get("partitions") or 1))
    return tuple(names.buffer_name(meta["namespace"], meta["name"], str(vertex["name"]), k) for k in partitions)


def _pod_view(pod: Mapping[str, Any], queries: ClusterQueries) -> PodView:
    status = pod.get("status", {})
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    restarts = sum(int(container.get("restartCount", 0)) for container in containers)
    return PodView(str(pod["metadata"]["name"]), is_ready(pod), restarts, not_ready_reason(pod, queries))


def _cluster_queries(kubectl: Kubectl, here: str) -> ClusterQueries:
    """Return what asks the cluster; what it does not know, or forbids, is nothing."""

    def events(kind: str, name: str) -> list[dict[str, Any]]:
        selector = f"--field-selector=involvedObject.kind={kind},involvedObject.name={name}"
        with suppress(UnavailableError):
            return sorted(kubectl.items("get", "events", here, selector), key=_when)
        return []

    def claim(name: str) -> dict[str, Any]:
        with suppress(UnavailableError):
            return kubectl.json("get", "persistentvolumeclaims", name, here)
        return {}

    def log(pod: str, container: str, ended_before: bool) -> list[str]:
        for more in (["--previous"], []) if ended_before else ([], ["--previous"]):
            with suppress(UnavailableError):
                text = kubectl.text("logs", pod, f"--container={container}", "--tail=20", here, *more)
                lines = [line.rstrip() for line in text.splitlines() if line.strip()]
                if lines:
                    return lines
        return []

    return ClusterQueries(events, claim, log)


def _when(event: Mapping[str, Any]) -> str:
    times = (event.get("lastTimestamp"), event.get("eventTime"), event["metadata"].get("creationTimestamp"))
    return next((str(time) for time in times if time), "")
