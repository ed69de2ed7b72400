"""The containers of workflows/aps/numaflow-aps-live.yaml in pods, driven as Numaflow drives them.

Each vertex's container is copied from the manifest into a pod with the labels and variables of Numaflow 1.4. One client
of Numaflow's protocol replaces the containers of Numaflow, and connects to the vertices over sockets in folders of the
node. Numaflow itself is not involved.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from numaflow_objects import GROUP, nats_pod, numaflow_kinds
from polling import wait_until

from charon.adapters.storage.nexus_reader import read_image
from embedded_run import reconstruct_embedded

pytestmark = pytest.mark.timeout(420)
ROOT = Path(__file__).resolve().parents[2]
APS = ROOT / "workflows" / "aps"
CLIENT = ROOT / "tests/system/numaflow/numaflow_client.py"
CHARONCTL = [sys.executable, "-m", "charon.cli.main"]
FRAMES = 240
SCAN = ["--shape=16x15", "--frame-rate=40", "--report-period=0", "--prepare-all", "--seed=3"]


@pytest.fixture(scope="module")
def manifest():
    """Return the documents of the manifest."""
    return list(yaml.safe_load_all((APS / "numaflow-aps-live.yaml").read_text()))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the image that the embedded engine reconstructs from the same frames."""
    folder = tmp_path_factory.mktemp("embedded")
    return reconstruct_embedded(folder, APS / "numaflow-aps-live.yaml", FRAMES, *SCAN)


class Stage:
    """A namespace with the pods of a pipeline, and folders of the node for their sockets and results."""

    def __init__(self, cluster, namespace, manifest, folder):
        self.cluster, self.namespace, self.folder = cluster, namespace, folder
        self.pipeline = next(document for document in manifest if document["kind"] == "Pipeline")
        self.results = self.shared("results")
        volume = {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": namespace},
            "spec": {
                "capacity": {"storage": "20Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": str(self.results)},
                "claimRef": {"name": "ptychography-data", "namespace": namespace},
            },
        }
        credentials = {"user": secrets.token_hex(8), "password": secrets.token_hex(16)}
        others = [document for document in manifest if document["kind"] != "Pipeline"]
        cluster.apply(volume, *others, *nats_pod(credentials), self.pipeline, namespace=namespace)

    def shared(self, name):
        """Create a folder that is writable for pods of any user."""
        path = self.folder / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        return path

    def start(self, vertex, replica=0):
        """Start a pod with the container of a vertex in the manifest."""
        spec = next(v for v in self.pipeline["spec"]["vertices"] if v["name"] == vertex)
        part = spec.get("source") or spec.get("sink") or spec["udf"]
        container = json.loads(json.dumps((part.get("udsource") or part.get("udsink") or part)["container"]))
        container["name"] = "udf"
        name = f"ptychography-{vertex}-{replica}"
        variables = {"NAMESPACE": self.namespace, "POD": name, "REPLICA": str(replica)}
        variables |= {"PIPELINE_NAME": "ptychography", "VERTEX_NAME": vertex}
        container["env"] += [{"name": f"NUMAFLOW_{key}", "value": value} for key, value in variables.items()]
        container["volumeMounts"].append({"name": "var-run-numaflow", "mountPath": "/var/run/numaflow"})
        sockets = {"name": "var-run-numaflow", "hostPath": {"path": str(self.shared(f"sockets/{vertex}-{replica}"))}}
        labels = {f"{GROUP}/pipeline-name": "ptychography", f"{GROUP}/vertex-name": vertex, "role": "workload"}
        labels["app.kubernetes.io/component"] = "vertex"
        template = self.pipeline["spec"]["templates"]["vertex"]
        self.cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": labels},
                "spec": {
                    "securityContext": template["securityContext"],
                    "containers": [container],
                    "volumes": [*spec["volumes"], sockets],
                    "restartPolicy": "Always",
                },
            },
            namespace=self.namespace,
        )

    def drive(self):
        """Start the client of Numaflow's protocol."""
        code = {path.name: path.read_text() for path in (CLIENT, Path(__file__).parent / "in_pod/drive.py")}
        self.cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "driver"}, "data": code},
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "driver"},
                "spec": {
                    "restartPolicy": "Never",
                    "securityContext": {"runAsUser": 10001, "runAsGroup": 10001},
                    "containers": [
                        {
                            "name": "driver",
                            "image": "charon:latest",
                            "imagePullPolicy": "IfNotPresent",
                            "command": ["python3", "/driver/drive.py", str(FRAMES), "180"],
                            "volumeMounts": [
                                {"name": "code", "mountPath": "/driver"},
                                {"name": "sockets", "mountPath": "/sockets"},
                            ],
                        }
                    ],
                    "volumes": [
                        {"name": "code", "configMap": {"name": "driver"}},
                        {"name": "sockets", "hostPath": {"path": str(self.folder / "sockets")}},
                    ],
                },
            },
            namespace=self.namespace,
        )

    def detect(self):
        """Start the simulated detector with a short scan."""
        pod = yaml.safe_load((APS / "baseline-pvapy-sim-server.yaml").read_text())
        args = [a for a in pod["spec"]["containers"][0]["args"] if not a.startswith(("--runtime", "--frame-rate"))]
        pod["spec"]["containers"][0]["args"] = [*args, *SCAN]
        self.cluster.apply(pod, namespace=self.namespace)

    def states(self):
        """Return the states that the client has printed."""
        lines = self.cluster.run("logs", "driver", "-n", self.namespace).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait_for(self, state, timeout_s):
        """Wait until the client prints a state, and return it."""

        def printed():
            phase = self.cluster.get("pod", "driver", "-n", self.namespace)["status"]["phase"]
            assert phase != "Failed", self.cluster.run("logs", "driver", "-n", self.namespace).stdout
            return any(line["state"] == state for line in self.states())

        wait_until(printed, timeout_s)
        return next(line for line in self.states() if line["state"] == state)

    def metrics(self, pod):
        """Return the metrics that a pod exposes."""
        return self.cluster.call("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9101/proxy/metrics")


@pytest.fixture
def stage(cluster, namespace, manifest):
    """Yield a stage; skip if the folders of the node are not accessible."""
    if cluster.layout is None:
        pytest.skip("needs the folders of the test cluster's node, but CHARON_TEST_KUBECONFIG names another cluster")
    with numaflow_kinds(cluster):
        yield Stage(cluster, namespace, manifest, cluster.layout.folder("stage", namespace))
        cluster.run("delete", "pod", "--all", "-n", namespace, "--grace-period=0", "--force")
        cluster.run("delete", "pv", namespace, "--wait=false")


def status(stage, tmp_path):
    done = subprocess.run(
        [*CHARONCTL, "status", "ptychography", stage.namespace, "--json"],
        env={**stage.cluster.environment, "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_pods_reconstruct_the_embedded_image(stage, expected, tmp_path, figures):
    # As in docs/how-to/run-on-kubernetes.md, the detector starts when the pipeline is running.
    start = time.monotonic()
    for vertex in ("in", "cat", "image", "out"):
        stage.start(vertex)
    stage.start("cat", 1)
    stage.drive()
    stage.wait_for("driving", 150)
    figures["vertices applied to all ready, s"] = round(time.monotonic() - start, 1)
    stage.detect()
    stage.wait_for("first", 90)
    figures["vertices applied to first patch, detector started after them, s"] = round(time.monotonic() - start, 1)
    # Deletes a replica of inference during the run, with too little time to drain it.
    delete = ["delete", "pod", "ptychography-cat-1", "-n", stage.namespace, "--wait=false", "--grace-period=1"]
    stage.cluster.call(*delete)
    done = stage.wait_for("done", 120)
    assert (done["dropped"], done["pending"], done["lost_replicas"]) == (0, 0, 1)

    exposed = stage.metrics("ptychography-image-0")
    (line,) = [line for line in exposed.splitlines() if line.startswith("charon_frames_total{") and "reconstr" in line]
    assert line.endswith(f" {FRAMES}")

    pods = ["in-0", "cat-0", "image-0", "out-0"]
    for pod in pods:
        lines = stage.metrics(f"ptychography-{pod}").splitlines()
        (resident,) = [line for line in lines if line.startswith("charon_resident_memory_bytes")]
        figures[f"memory of {pod}, MiB"] = round(float(resident.split()[-1]) / 2**20)
    stage.cluster.call("delete", "pod", "-n", stage.namespace, *[f"ptychography-{pod}" for pod in pods], timeout=90)
    account = status(stage, tmp_path)["account"]
    assert (account["published"], account["accepted"], account["missed"]) == (FRAMES, FRAMES, 0)
    assert (account["reconstructed"], account["in_flight"], account["lost"], account["duplicates"]) == (FRAMES, 0, 0, 0)

    stitched = read_image(stage.results / "scan-1.h5")
    assert stitched is not None
    assert stitched.phase.shape == expected.phase.shape
    assert stitched.origin_m == pytest.approx(expected.origin_m)
    np.testing.assert_allclose(stitched.weight, expected.weight, rtol=1e-4, atol=1e-5)
    inside = expected.weight > 1e-3 * expected.weight.max()
    np.testing.assert_allclose(stitched.transmission[inside], expected.transmission[inside], atol=1e-4)
