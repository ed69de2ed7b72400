"""Waiting until a pipeline runs on a cluster, or saying why it does not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from charon.engines.cluster.observe import observe
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from charon.adapters.kubernetes import Kubectl
    from charon.engines.cluster.observe import ClusterView, VertexView

_LOOK_S = 1.0
# As long as an image that cannot be pulled is tried again once or twice, and a restart is not yet a loop.
_PATIENCE_S = 30.0


class NotRunningError(UnavailableError):
    """The pipeline does not run; the text has a line for each vertex that does not."""


def wait_until_running(
    kubectl: Kubectl,
    name: str,
    namespace: str,
    *,
    timeout_s: float,
    report: Callable[[str], None],
    stuck_timeout_s: float = _PATIENCE_S,
) -> ClusterView:
    """Wait until every vertex and the daemon run.

    Parameters
    ----------
    timeout_s
        Give up after so many seconds.
    report
        Called with a line whenever the state of something changes.
    stuck_timeout_s
        Give up after so many seconds with a reason that waiting does not mend.

    Raises
    ------
    NotRunningError
        If it does not run in time, or cannot.
    UnavailableError
        If the cluster does not answer for that long.
    """
    deadline = time.monotonic() + timeout_s
    told: dict[str, str] = {}
    stuck: dict[str, tuple[str, float]] = {}
    away: UnavailableError | None = None
    while True:
        try:
            view = observe(kubectl, name, namespace)
            away = None
        except UnavailableError as error:
            view, away = None, error
        if view is not None:
            for what, line in _lines(view).items():
                if told.get(what) != line:
                    told[what] = line
                    report(f"{what}: {line}")
            if view.runs:
                return view
            if _held_up(stuck, view) >= stuck_timeout_s:
                raise NotRunningError(explain(view))
        if time.monotonic() > deadline:
            if view is None:
                raise away or UnavailableError("the cluster does not answer")
            raise NotRunningError(explain(view, after_s=timeout_s))
        time.sleep(_LOOK_S)


def explain(view: ClusterView, after_s: float | None = None) -> str:
    """Return why a pipeline does not run: a line for itself and for each vertex that does not."""
    head = f"{view.name} does not run" + ("" if after_s is None else f" after {after_s:.0f} s")
    lines = [head]
    state = _state_of(view)
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


def _lines(view: ClusterView) -> dict[str, str]:
    lines = {vertex.name: _line(vertex) for vertex in (*view.vertices, view.daemon)}
    state = _state_of(view)
    return {"pipeline": state, **lines} if state else lines


def _line(vertex: VertexView) -> str:
    reason = vertex.reason()
    return f"runs ({vertex.ready} of {vertex.desired})" if reason is None else reason.text


def _state_of(view: ClusterView) -> str:
    """Return what is wrong with the pipeline itself; empty where nothing is known to be."""
    said = view.message or "; ".join(view.conditions.values())
    if f"isbsvc {view.buffer_service} not found" in said:
        return (
            f"there is no inter-step buffer service {view.buffer_service!r} in namespace {view.namespace};"
            " apply one: charonctl kubectl apply -f workflows/aps/jetstream.yaml"
        )
    if view.phase == "Failed":
        return said or "failed"
    if not view.phase and not any(vertex.pods for vertex in view.vertices):
        return "nothing has acted on it yet; is the Numaflow controller running?"
    return said


def _held_up(stuck: dict[str, tuple[str, float]], view: ClusterView) -> float:
    """Note what is stuck; return for how many seconds the longest has been for the same kind of reason."""
    now = time.monotonic()
    found = {v.name: r.kind for v in (*view.vertices, view.daemon) if (r := v.reason()) is not None and r.stuck}
    if view.phase == "Failed":
        found["pipeline"] = "Failed"
    for what in set(stuck) - set(found):
        del stuck[what]
    for what, kind in found.items():
        if what not in stuck or stuck[what][0] != kind:
            stuck[what] = (kind, now)
    return max((now - since for _, since in stuck.values()), default=0.0)
