"""Reasons why a pod is not running, from objects as kubectl prints them."""

from __future__ import annotations

import pytest

from charon.engines.cluster.observe import build_view
from charon.engines.cluster.reasons import ClusterQueries, Reason, ReasonKind, is_ready, not_ready_reason
from charon.engines.cluster.waiting import explain


def pod(name="p-cat-0-abcde", *, phase="Pending", conditions=(), containers=(), init=(), vertex="cat", **more):
    """Return a pod as kubectl prints it, with the fields that the reasons depend on."""
    component = {"daemon": "daemon", "job": "job"}.get(vertex, "vertex")
    labels = {"app.kubernetes.io/component": component, "numaflow.numaproj.io/pipeline-name": "p"}
    if component == "vertex":
        labels["numaflow.numaproj.io/vertex-name"] = vertex
    return {
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, **more.pop("metadata", {})},
        "spec": more,
        "status": {
            "phase": phase,
            "conditions": [{"type": kind, "status": state} for kind, state in conditions],
            "containerStatuses": list(containers),
            "initContainerStatuses": list(init),
        },
    }


def container(name="udf", *, state, last=None, restarts=0, ready=False):
    return {
        "name": name,
        "image": "charon:latest",
        "ready": ready,
        "restartCount": restarts,
        "state": state,
        "lastState": {} if last is None else {"terminated": last},
    }


def queries(events=(), claims=None, log=("first", "last line")):
    return ClusterQueries(
        lambda kind, name: list(events),
        lambda name: (claims or {}).get(name, {}),
        lambda pod, container, before: list(log),
    )


def reason_for(subject, cluster):
    reason = not_ready_reason(subject, cluster)
    assert reason is not None
    return reason


RUNNING = {"running": {"startedAt": "2026-11-22T19:00:00Z"}}
READY = [("PodScheduled", "True"), ("Ready", "True")]


def test_ready_pod_has_no_reason():
    subject = pod(phase="Running", conditions=READY, containers=[container(state=RUNNING, ready=True)])
    assert is_ready(subject)
    assert not_ready_reason(subject, queries()) is None


@pytest.mark.parametrize(
    ("subject", "events", "kind", "text"),
    [
        (pod(), [], "starting", "is starting"),
        (pod(), [{"reason": "Pulling", "message": 'Pulling image "charon:latest"'}], "pulling", "charon:latest"),
        (
            pod(containers=[container(state={"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}})]),
            [{"reason": "Failed", "message": 'Failed to pull image "charon:latest": not found'}, {"reason": "BackOff"}],
            "image",
            "not found",
        ),
        (
            pod(init=[container("init", state={"waiting": {"reason": "ErrImageNeverPull", "message": "not present"}})]),
            [],
            "image",
            "cannot pull image charon:latest: not present",
        ),
        (
            pod(containers=[container(state={"waiting": {"reason": "ContainerCreating"}})]),
            [{"reason": "FailedMount", "message": 'MountVolume.SetUp failed: configmap "x"\n not found'}],
            "volume",
            'configmap "x" not found',
        ),
        (
            pod(containers=[container(state={"waiting": {"reason": "ContainerCreating"}})]),
            [{"reason": "FailedCreatePodSandBox", "message": "no runtime for nvidia is configured"}],
            "configuration",
            "no runtime for nvidia",
        ),
        (
            pod(
                phase="Running",
                containers=[container(state=RUNNING, last={"exitCode": 137, "reason": "OOMKilled"}, restarts=4)],
            ),
            [],
            "crash",
            "container udf ran out of memory, restarted 4 times",
        ),
        (
            pod(phase="Running", containers=[container(state=RUNNING)]),
            [],
            "not-ready",
            "is running but not ready",
        ),
        (pod(phase="Succeeded"), [], "ended", "has completed"),
        (pod(metadata={"deletionTimestamp": "2026-11-22T19:00:00Z"}), [], "ending", "is terminating"),
    ],
)
def test_reason_has_kind_and_text(subject, events, kind, text):
    reason = reason_for(subject, queries(events))
    assert reason.kind == kind
    assert text in reason.text
    assert "\n" not in reason.text


@pytest.mark.parametrize("kind", ["image", "unschedulable", "volume", "crash", "configuration"])
def test_reason_that_persists_is_stuck(kind):
    assert Reason(ReasonKind(kind), "").stuck


def test_unschedulable_pod_is_stuck():
    assert reason_for(pod(), queries()).stuck is False
    scheduled = pod()
    scheduled["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    ]
    assert reason_for(scheduled, queries()).stuck


def test_crash_detail_is_the_end_of_the_log():
    subject = pod(
        containers=[
            container(
                state={"waiting": {"reason": "CrashLoopBackOff"}}, last={"exitCode": 1, "reason": "Error"}, restarts=2
            )
        ]
    )
    reason = reason_for(subject, queries(log=[str(n) for n in range(20)]))
    assert reason.detail == ("15", "16", "17", "18", "19")


def test_missing_and_pending_claims_are_reported():
    subject = pod(
        volumes=[
            {"name": "a", "persistentVolumeClaim": {"claimName": "gone"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "waits"}},
            {"name": "c", "emptyDir": {}},
        ]
    )
    subject["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": 'persistentvolumeclaim "gone" not found'}
    ]
    claims = {"waits": {"spec": {}, "status": {"phase": "Pending"}}}
    text = reason_for(subject, queries([{"message": "no persistent volumes available"}], claims)).text
    assert "claim gone does not exist" in text
    assert "claim waits is pending, storage class none (and the cluster has no default)" in text
    assert "no persistent volumes available" in text


PIPELINE = {
    "metadata": {"name": "p", "namespace": "n"},
    "spec": {"vertices": [{"name": "in"}, {"name": "cat", "scale": {"min": 2}}, {"name": "out", "scale": {"min": 0}}]},
    "status": {
        "phase": "Running",
        "conditions": [
            {"type": "Configured", "status": "True"},
            {"type": "VerticesHealthy", "status": "False", "message": "Some Vertices are unhealthy"},
        ],
    },
}


def test_desired_replicas_default_to_min_scale():
    view = build_view(PIPELINE, [], {"in": 3}, queries())
    assert [(v.name, v.desired) for v in view.vertices] == [("in", 3), ("cat", 2), ("out", 1)]
    assert view.conditions == {"VerticesHealthy": "Some Vertices are unhealthy"}
    assert view.buffer_service == "default"
    assert not view.running


def test_pipeline_runs_with_all_replicas_and_daemon():
    def ready(name, vertex):
        return pod(name, phase="Running", conditions=READY, vertex=vertex)

    pods = [ready("i", "in"), ready("c0", "cat"), ready("c1", "cat"), ready("o", "out")]
    assert not build_view(PIPELINE, pods, {}, queries()).running
    view = build_view(PIPELINE, [*pods, ready("d", "daemon")], {}, queries())
    assert view.running
    # A pod added by the autoscaler does not change the state.
    assert build_view(PIPELINE, [*pods, ready("d", "daemon"), pod("c2")], {}, queries()).running


def test_explain_prefers_stuck_pod_and_lists_jobs():
    broken = container(state={"waiting": {"reason": "ErrImagePull", "message": "denied"}})
    pods = [
        pod("c0"),
        pod("c1", containers=[broken]),
        pod("j", vertex="job", containers=[container("main", state={"terminated": {"exitCode": 1}})]),
    ]
    text = explain(build_view(PIPELINE, pods, {}, queries()))
    assert "  cat: cannot pull image charon:latest: denied" in text
    assert "  in: has no pod yet" in text
    assert "  buffers: j: container main exited with status 1\n      first\n      last line" in text
    assert "  pipeline: Some Vertices are unhealthy" in text
