"""The manifests in workflows/ on a cluster: validation, overlays, the detector's Service, volumes."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from numaflow_objects import IMAGE, numaflow_kinds
from polling import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(400)
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
APS = WORKFLOWS / "aps"
FILES = sorted(
    path.name for path in APS.glob("*.yaml") if path.name not in {"kustomization.yaml", "kustomize-images.yaml"}
)
CHARONCTL = [sys.executable, "-m", "charon.cli.main"]
# Receives frames as the source vertex does, without a buffer.
READER = """
import time
from charon.adapters.pvaccess import FrameMonitor
def on_update(raw):
    print("frame", raw.identify().unique_id, flush=True)
monitor = FrameMonitor("ad:image", on_update, lambda connected: print("connected", connected, flush=True))
monitor.start()
print("reading", flush=True)
time.sleep(3600)
"""


@pytest.fixture(autouse=True, scope="module")
def _numaflow_kinds(cluster):
    with numaflow_kinds(cluster):
        yield


def documents(name):
    return [document for document in yaml.safe_load_all((APS / name).read_text()) if document]


def containers_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every container in a document."""
    if isinstance(node, dict):
        if "image" in node:
            yield node
        for value in node.values():
            yield from containers_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers_in(value)


@pytest.mark.parametrize("name", FILES)
def test_manifest_is_accepted_by_the_api_server(cluster, namespace, name):
    done = cluster.run("apply", "--dry-run=server", "-n", namespace, "-f", str(APS / name))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(documents(name))
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("name", FILES)
def test_containers_are_restricted(name):
    for container in (c for d in documents(name) for c in containers_in(d)):
        assert container["image"].startswith("charon:"), "no private registry"
        assert container["imagePullPolicy"] == "IfNotPresent"
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        context = container["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "scratch" in [mount["name"] for mount in container["volumeMounts"]]


def test_autoscaling_scales_up_and_down_under_load():
    *_, pipeline = yaml.safe_load_all((APS / "numaflow-aps-autoscaling.yaml").read_text())
    cat = next(vertex for vertex in pipeline["spec"]["vertices"] if vertex["name"] == "cat")
    length = cat["limits"]["bufferMaxLength"]
    usable = length * pipeline["spec"]["limits"]["bufferUsageLimit"] / 100
    target = length * cat["scale"]["targetBufferAvailability"] / 100

    def desired(replicas: int, waiting: int) -> int:
        # The computation of Numaflow 1.4, which rounds a half up.
        return max(1, int(target / ((usable - waiting) / replicas) + 0.5))

    assert [desired(replicas, 16) for replicas in (4, 3, 2, 1)] == [3, 2, 1, 1]
    assert [desired(1, waiting) for waiting in (5100, 5200)] == [1, 2]
    assert [desired(2, waiting) for waiting in (700, 900)] == [1, 2]
    assert desired(3, 5200) >= 4


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("numaflow-aps")])
def test_vertices_are_valid_pods(cluster, namespace, name):
    """The API server validates pods as Numaflow creates them."""
    (pipeline,) = [d for d in documents(name) if d["kind"] == "Pipeline"]
    template = pipeline["spec"]["templates"]["vertex"]
    assert template["metadata"]["labels"] == {"role": "workload"}
    for vertex in pipeline["spec"]["vertices"]:
        (container,) = containers_in(vertex)
        assert container["ports"] == [{"name": "charon-metrics", "containerPort": 9101}]
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": vertex["name"], **template["metadata"]},
            "spec": {
                "containers": [{"name": "main", **container}],
                "volumes": vertex["volumes"],
                "securityContext": template["securityContext"],
            },
        }
        text = json.dumps(pod)
        done = cluster.run("apply", "--dry-run=server", "--validate=strict", "-n", namespace, "-f", "-", text=text)
        assert done.returncode == 0, done.stderr


def build(cluster, overlay):
    return list(yaml.safe_load_all(cluster.call("kustomize", str(WORKFLOWS / overlay))))


def test_overlays_change_only_their_objects(cluster, namespace):
    base = {(d["kind"], d["metadata"]["name"]): d for d in build(cluster, "aps")}
    gpu = {(d["kind"], d["metadata"]["name"]): d for d in build(cluster, "overlays/gpu")}
    three = {(d["kind"], d["metadata"]["name"]): d for d in build(cluster, "overlays/three-nodes")}
    pipeline, buffer = ("Pipeline", "ptychography"), ("InterStepBufferService", "default")
    assert {key for key in base if base[key] != gpu[key]} == {pipeline}
    assert {key for key in base if base[key] != three[key]} == {buffer}

    cat = gpu[pipeline]["spec"]["vertices"][1]
    container = cat["udf"]["container"]
    assert cat["runtimeClassName"] == "nvidia"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"].endswith("-cuda")
    assert container["args"][-2:] == ["--backend", "cuda"]
    assert base[buffer]["spec"]["jetstream"]["replicas"] == 1
    assert three[buffer]["spec"]["jetstream"]["replicas"] == 3
    for overlay in ("overlays/gpu", "overlays/three-nodes"):
        cluster.call("apply", "--dry-run=server", "-n", namespace, "-k", str(WORKFLOWS / overlay))


def test_kustomization_sets_every_image(cluster, tmp_path):
    copy = tmp_path / "aps"
    copy.mkdir()
    for path in APS.glob("*.yaml"):
        text = path.read_text()
        if path.name == "kustomization.yaml":
            text = text.replace("newName: charon", "newName: registry.example.org/charon")
        (copy / path.name).write_text(text)
    objects = list(yaml.safe_load_all(cluster.call("kustomize", str(copy))))
    images = {container["image"] for container in containers_in(objects)}
    assert images == {"registry.example.org/charon:latest"}


# The detector


@pytest.fixture
def detector(cluster, namespace):
    """Return functions that start and stop the simulated detector, with smaller and fewer frames."""
    (pod,) = documents("baseline-pvapy-sim-server.yaml")
    container = pod["spec"]["containers"][0]
    container["args"] = [
        re.sub(r"^(--n-[xy]-pixels)=.*", r"\1=64", a).replace("--frame-rate=100", "--frame-rate=20")
        for a in container["args"]
    ]
    container["args"] += ["--sample=noise", "--cache-size=200"]
    container["resources"]["requests"] = {"cpu": "50m", "memory": "64Mi"}

    def start():
        cluster.apply(pod, namespace=namespace)

    def stop():
        cluster.call("delete", "pod", pod["metadata"]["name"], "-n", namespace, "--grace-period=3", timeout=90)

    return start, stop


def reader(cluster, namespace):
    """Start a pod that reads the channel with the source's settings; return a function to list its frames."""
    config, service = documents("numaflow-aps.yaml")[:2]
    cluster.apply(config, service, namespace=namespace)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "reader"},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [
                {
                    "name": "main",
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python3", "-u", "-c", READER],
                    "envFrom": [{"configMapRef": {"name": config["metadata"]["name"]}}],
                }
            ],
        },
    }
    cluster.apply(pod, namespace=namespace)
    cluster.call("wait", "pod/reader", "--for=condition=Ready", "--timeout=60s", "-n", namespace, timeout=90)

    def frames():
        lines = cluster.run("logs", "reader", "-n", namespace).stdout.splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith("frame ")]

    return frames


def test_source_finds_a_detector_started_later(cluster, namespace, detector):
    """The detector's Service has no pod at first, and another pod after a restart of the detector."""
    start, stop = detector
    frames = reader(cluster, namespace)
    start()
    wait_until(lambda: len(frames()) > 20, 90)
    first = frames()
    assert first[:3] == list(range(first[0], first[0] + 3))
    stop()
    seen = len(frames())
    start()
    wait_until(lambda: len(frames()) > seen + 20, 90)
    assert min(frames()[seen + 1 :]) <= 5, "the first frames of the restarted detector arrive"


def test_source_finds_a_running_detector(cluster, namespace, detector):
    start, _ = detector
    start()
    cluster.call(
        "wait",
        "pod",
        "baseline-pvapy-sim-server",
        "--for=condition=Ready",
        "--timeout=60s",
        "-n",
        namespace,
        timeout=90,
    )
    frames = reader(cluster, namespace)
    wait_until(lambda: len(frames()) > 20, 90)
    assert frames()[0] <= 5, "the detector holds its first frame until a client connects"


# Volumes


@pytest.fixture
def volumes(cluster, tmp_path):
    """Create the storage class and its volumes, with names and paths of the test."""
    mark = secrets.token_hex(3)
    text = (APS / "numaflow-storage-class.yaml").read_text()
    text = text.replace("charon-local", f"charon-{mark}").replace("/var/lib/charon", str(tmp_path / "node"))
    cluster.call("apply", "-f", "-", text=text)
    yield f"charon-{mark}"
    cluster.run("delete", "-f", "-", "--wait=false", text=text)


def claim_and_pod(storage_class):
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "buffer"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": storage_class,
                "resources": {"requests": {"storage": "10Gi"}},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "buffer"},
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "containers": [
                    {
                        "name": "main",
                        "image": IMAGE,
                        "imagePullPolicy": "IfNotPresent",
                        "command": ["sh", "-c", "echo kept >> /data/file; cat /data/file; sleep 3600"],
                        "securityContext": {"runAsUser": 0},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "buffer"}}],
            },
        },
    ]


def phases(cluster, storage_class):
    items = cluster.get("persistentvolumes")["items"]
    return sorted(i["status"]["phase"] for i in items if i["spec"].get("storageClassName") == storage_class)


def reclaim(cluster, tool, storage_class):
    command = [*CHARONCTL, "reclaim", "--storage-class", storage_class]
    if tool == "script":
        command = [str(APS / "reclaim-pv.sh"), storage_class]
    environment = cluster.environment | {"PATH": f"{Path(cluster.kubectl).parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, capture_output=True, text=True, timeout=90, env=environment, check=False)


@pytest.mark.parametrize("tool", ["command", "script"])
def test_reclaim_makes_released_volume_available(cluster, namespace, volumes, tool):
    def use():
        cluster.apply(*claim_and_pod(volumes), namespace=namespace)
        cluster.call("wait", "pod/buffer", "--for=condition=Ready", "--timeout=60s", "-n", namespace, timeout=90)

    use()
    assert phases(cluster, volumes) == ["Available", "Available", "Bound"]
    nothing = reclaim(cluster, tool, volumes)
    assert (nothing.returncode, "nothing to do" in nothing.stderr) == (0, True), nothing.stderr
    for name in ("pod/buffer", "pvc/buffer"):
        cluster.call("delete", name, "-n", namespace)
    wait_until(lambda: phases(cluster, volumes) == ["Available", "Available", "Released"], 60)

    done = reclaim(cluster, tool, volumes)

    assert done.returncode == 0, done.stderr
    before, after = done.stdout.split("after:")
    assert len(re.findall("Released", before)) == 1
    assert f"{namespace}/buffer" in before
    assert "Released" not in after
    assert len(re.findall("Available", after)) == 3
    assert "still exist" in done.stderr
    assert phases(cluster, volumes) == ["Available"] * 3
    use()
    assert phases(cluster, volumes) == ["Available", "Available", "Bound"]


@pytest.mark.skipif(Path("/etc/rancher/k3s/k3s.yaml").exists(), reason="the script would find the kubeconfig of K3s")
def test_script_without_kubeconfig_is_one_line_error(tmp_path):
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [APS / "reclaim-pv.sh"], env=environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert "no kubeconfig" in done.stderr


@pytest.mark.parametrize("tool", ["command", "script"])
def test_reclaim_names_class_without_volumes(cluster, tool):
    done = reclaim(cluster, tool, "no-such-class")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "no-such-class" in done.stderr
