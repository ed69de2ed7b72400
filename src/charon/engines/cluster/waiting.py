"""Wait until a pipeline on a cluster is running, or explain why it is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from charon.engines.cluster.observe import observe
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.adapters.kubernetes import Kubectl
    from charon.engines.cluster.observe import ClusterView, VertexView

_POLL_INTERVAL_S = 1.0
# Long enough for one or two retries of a failed image pull, and for a crash that a restart fixes.
_STUCK_TIMEOUT_S = 30.0


class NotRunningError(UnavailableError):
    """The pipeline is not running; the message has a line for each vertex that is not running."""


def wait_until_running(
    kubectl: Kubectl,
    name: str,
    namespace: str,
    *,
    timeout_s: float,
    report: Callable[[str], None],
    stuck_timeout_s: float = _STUCK_TIMEOUT_S,
) -> ClusterView:
    """Wait until every vertex and the daemon are running.

    Parameters
    ----------
    timeout_s
        Limit of the wait, in s.
    report
        Called with a line for each change of state.
    stuck_timeout_s
        Limit of the wait, in s, while a pod is stuck: it is unlikely to start without a change by the user.

    Raises
    ------
    NotRunningError
        If the pipeline is not running in time, or is stuck.
    UnavailableError
        If the cluster does not respond in time.
    """
    deadline = time.monotonic() + timeout_s
    reported: dict[str, str] = {}
    stuck: dict[str, tuple[str, float]] = {}
    failure: UnavailableError | None = None
    while True:
        try:
            view = observe(kubectl, name, namespace)
            failure = None
        except UnavailableError as error:
            view, failure = None, error
        if view is not None:
            for subject, state in _states(view).items():
                if reported.get(subject) != state:
                    reported[subject] = state
                    report(f"{subject}: {state}")
            if view.running:
                return view
            if _update_stuck(stuck, view) >= stuck_timeout_s:
                raise NotRunningError(explain(view))
        if time.monotonic() > deadline:
            if view is None:
                raise failure or UnavailableError("the cluster does not respond")
            raise NotRunningError(explain(view, after_s=timeout_s))
        time.sleep(_POLL_INTERVAL_S)


def explain(view: ClusterView, after_s: float | None = None) -> str:
    """Return why a pipeline is not running: a line for the pipeline and for each vertex that is not running."""
    lines = [f"{view.name} is not running" + ("" if after_s is None else f" after {after_s:.0f} s")]
    state = _pipeline_state(view)
    if state:
        lines.append(f"  pipeline: {state}")
    for vertex in (*view.vertices, view.daemon):
        reason = vertex.reason()
        if reason is not None:
            lines.append(f"  {vertex.name}: {reason.text}")
            lines += [f"      {line}" for line in reason.detail]
    for pod in view.buffers:
        if pod.reason is not None:
            lines.append(f"  buffers: {pod.name}: {pod.reason.text}")
            lines += [f"      {line}" for line in pod.reason.detail]
    return "\n".join(lines)


def _states(view: ClusterView) -> dict[str, str]:
    states = {vertex.name: _vertex_state(vertex) for vertex in (*view.vertices, view.daemon)}
    state = _pipeline_state(view)
    return {"pipeline": state, **states} if state else states


def _vertex_state(vertex: VertexView) -> str:
    reason = vertex.reason()
    return f"running ({vertex.ready} of {vertex.desired})" if reason is None else reason.text


def _pipeline_state(view: ClusterView) -> str:
    """Return what is wrong with the pipeline itself; empty if there is no known problem."""
    message = view.message or "; ".join(view.conditions.values())
    if f"isbsvc {view.buffer_service} not found" in message:
        return (
            f"no inter-step buffer service {view.buffer_service!r} in namespace {view.namespace};"
            " create one: charonctl kubectl apply -f workflows/aps/jetstream.yaml"
        )
    if view.phase == "Failed":
        return message or "failed"
    if not view.phase and not any(vertex.pods for vertex in view.vertices):
        return "not processed by Numaflow yet; is the Numaflow controller running?"
    return message


def _update_stuck(stuck: dict[str, tuple[str, float]], view: ClusterView) -> float:
    """Record since when and why each vertex is stuck; return the longest of these durations in s."""
    now = time.monotonic()
    kinds: dict[str, str] = {
        vertex.name: reason.kind
        for vertex in (*view.vertices, view.daemon)
        if (reason := vertex.reason()) is not None and reason.stuck
    }
    if view.phase == "Failed":
        kinds["pipeline"] = "Failed"
    for subject in set(stuck) - set(kinds):
        del stuck[subject]
    for subject, kind in kinds.items():
        if subject not in stuck or stuck[subject][0] != kind:
            stuck[subject] = (kind, now)
    return max((now - since for _, since in stuck.values()), default=0.0)
