"""Why a pod does not run: what kubectl answers about it, made into a line."""

from __future__ import annotations

import pytest

from charon.engines.cluster.observe import build_view
from charon.engines.cluster.reasons import ClusterQueries, is_ready, not_ready_reason
from charon.engines.cluster.waiting import explain


def pod(name="p-cat-0-abcde", *, phase="Pending", conditions=(), containers=(), init=(), vertex="cat", **more):
    """Return a pod as kubectl prints it, with what matters here."""
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


def asker(events=(), claims=None, log=("first", "last words")):
    return ClusterQueries(
        lambda kind, name: list(events),
        lambda name: (claims or {}).get(name, {}),
        lambda pod, container, before: list(log),
    )


RUNNING = {"running": {"startedAt": "2026-11-22T19:00:00Z"}}
READY = [("PodScheduled", "True"), ("Ready", "True")]


def test_a_pod_that_is_ready_has_no_reason():
    found = pod(phase="Running", conditions=READY, containers=[container(state=RUNNING, ready=True)])
    assert is_ready(found)
    assert not_ready_reason(found, asker()) is None


@pytest.mark.parametrize(
    ("found", "events", "kind", "words"),
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
            "cannot be pulled: not present",
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
            "runs and is not ready yet",
        ),
        (pod(phase="Succeeded"), [], "ended", "has ended"),
        (pod(metadata={"deletionTimestamp": "2026-11-22T19:00:00Z"}), [], "ending", "is ending"),
    ],
)
def test_each_reason_is_told_apart(found, events, kind, words):
    reason = not_ready_reason(found, asker(events))
    assert reason.kind == kind
    assert words in reason.text
    assert "\n" not in reason.text


@pytest.mark.parametrize("kind", ["image", "unschedulable", "volume", "crash", "configuration"])
def test_what_waiting_does_not_mend_is_known(kind):
    assert not_ready_reason(pod(), asker()).stuck is False
    scheduled = pod()
    scheduled["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    ]
    assert not_ready_reason(scheduled, asker()).stuck


def test_the_last_words_of_a_crash_are_the_log_s_last_lines():
    found = pod(
        containers=[
            container(
                state={"waiting": {"reason": "CrashLoopBackOff"}}, last={"exitCode": 1, "reason": "Error"}, restarts=2
            )
        ]
    )
    reason = not_ready_reason(found, asker(log=[str(n) for n in range(20)]))
    assert reason.detail == ("15", "16", "17", "18", "19")


def test_a_claim_that_is_gone_and_one_that_waits_are_both_named():
    found = pod(
        volumes=[
            {"name": "a", "persistentVolumeClaim": {"claimName": "gone"}},
            {"name": "b", "persistentVolumeClaim": {"claimName": "waits"}},
            {"name": "c", "emptyDir": {}},
        ]
    )
    found["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "message": 'persistentvolumeclaim "gone" not found'}
    ]
    claims = {"waits": {"spec": {}, "status": {"phase": "Pending"}}}
    text = not_ready_reason(found, asker([{"message": "no persistent volumes available"}], claims)).text
    assert "the claim gone is not there" in text
    assert "the claim waits is pending, storage class none (and the cluster has no default)" in text
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


def test_vertices_have_the_replicas_that_numaflow_wants_or_begins_with():
    view = build_view(PIPELINE, [], {"in": 3}, asker())
    assert [(v.name, v.desired) for v in view.vertices] == [("in", 3), ("cat", 2), ("out", 1)]
    assert view.conditions == {"VerticesHealthy": "Some Vertices are unhealthy"}
    assert view.buffer_service == "default"
    assert not view.runs


def test_a_pipeline_runs_when_each_vertex_has_its_replicas_and_the_daemon_is_there():
    def ready(name, vertex):
        return pod(name, phase="Running", conditions=READY, vertex=vertex)

    pods = [ready("i", "in"), ready("c0", "cat"), ready("c1", "cat"), ready("o", "out")]
    assert not build_view(PIPELINE, pods, {}, asker()).runs
    view = build_view(PIPELINE, [*pods, ready("d", "daemon")], {}, asker())
    assert view.runs
    # Pods that are added later do not make it stop running.
    assert build_view(PIPELINE, [*pods, ready("d", "daemon"), pod("c2")], {}, asker()).runs


def test_the_gravest_reason_of_a_vertex_is_told_and_jobs_that_make_buffers_too():
    broken = container(state={"waiting": {"reason": "ErrImagePull", "message": "denied"}})
    pods = [
        pod("c0"),
        pod("c1", containers=[broken]),
        pod("j", vertex="job", containers=[container("main", state={"terminated": {"exitCode": 1}})]),
    ]
    text = explain(build_view(PIPELINE, pods, {}, asker()))
    assert "  cat: the image charon:latest cannot be pulled: denied" in text
    assert "  in: has no pod yet" in text
    assert "  buffers: j: container main ended with status 1\n      first\n      last words" in text
    assert "  pipeline: Some Vertices are unhealthy" in text
