"""The containers of workflows/aps/numaflow-aps-live.yaml in pods of a real Kubernetes, asked as Numaflow asks them.

Each vertex's container is taken from the manifest as it stands and put into a pod with the labels and variables that
Numaflow 1.4 gives. In place of Numaflow's own containers one client of its protocol asks all of them, over sockets
in folders of the node: Numaflow itself is not part of this.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from charon_pods import until
from numaflow_objects import GROUP, kinds_known, nats_pod

from charon.adapters.storage.nexus_reader import read_image

pytestmark = pytest.mark.timeout(420)
ROOT = Path(__file__).resolve().parents[2]
APS = ROOT / "workflows" / "aps"
CLIENT = ROOT / "tests/system/numaflow/numaflow_client.py"
CHARONCTL = [sys.executable, "-m", "charon.cli.main"]
FRAMES = 240
SCAN = ["--shape=16x15", "--frame-rate=40", "--report-period=0", "--prepare-all", "--seed=3"]


@pytest.fixture(scope="module")
def manifest():
    """Give the manifest's documents."""
    return list(yaml.safe_load_all((APS / "numaflow-aps-live.yaml").read_text()))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Give the image that the embedded engine makes of the same frames on this machine."""
    folder = tmp_path_factory.mktemp("embedded")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {k: v for k, v in os.environ.items() if not k.startswith(("EPICS_", "CHARON_"))} | {
        "EPICS_PVA_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_AUTO_ADDR_LIST": "NO",
        "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
        "EPICS_PVA_BROADCAST_PORT": port,
        "EPICS_PVAS_BROADCAST_PORT": port,
        "XDG_STATE_HOME": str(folder / "state"),
    }
    command = [*CHARONCTL, "run", str(APS / "numaflow-aps-live.yaml"), "--local", "--quiet"]
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen([*command, "--output", str(folder / "out")], env=env, stdout=log, stderr=log)
        try:
            subprocess.run([*CHARONCTL, "detector", *SCAN], env=env, check=True, timeout=120, stdout=log, stderr=log)
            run.send_signal(signal.SIGTERM)
            run.wait(60)
        finally:
            if run.poll() is None:
                run.kill()
            run.wait()
    assert json.loads((folder / "out/summary.json").read_text())["reconstructed"] == FRAMES, (
        folder / "log"
    ).read_text()
    return read_image(folder / "out/scan-1.h5")


class Stage:
    """A namespace with a pipeline's pods in it, and folders of the node for their sockets and results."""

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
        opening = {"user": secrets.token_hex(8), "password": secrets.token_hex(16)}
        others = [document for document in manifest if document["kind"] != "Pipeline"]
        cluster.apply(volume, *others, *nats_pod(opening), self.pipeline, namespace=namespace)

    def shared(self, name):
        """Return a folder that pods of any user may write to."""
        path = self.folder / name
        path.mkdir(parents=True)
        path.chmod(0o777)
        return path

    def start(self, vertex, replica=0, *more):
        """Start a vertex's pod with the manifest's own container."""
        spec = next(v for v in self.pipeline["spec"]["vertices"] if v["name"] == vertex)
        part = spec.get("source") or spec.get("sink") or spec["udf"]
        container = json.loads(json.dumps((part.get("udsource") or part.get("udsink") or part)["container"]))
        container["name"] = "udf"
        container["args"] += more
        name = f"ptychography-{vertex}-{replica}"
        told = {"NAMESPACE": self.namespace, "POD": name, "REPLICA": str(replica)}
        told |= {"PIPELINE_NAME": "ptychography", "VERTEX_NAME": vertex}
        container["env"] += [{"name": f"NUMAFLOW_{key}", "value": value} for key, value in told.items()]
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
        """Start the client of the protocol."""
        code = {path.name: path.read_text() for path in (CLIENT, Path(__file__).parent / "inside/drive.py")}
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
        """Start the guide's detector with a short scan of its own."""
        pod = yaml.safe_load((APS / "baseline-pvapy-sim-server.yaml").read_text())
        kept = [a for a in pod["spec"]["containers"][0]["args"] if not a.startswith(("--runtime", "--frame-rate"))]
        pod["spec"]["containers"][0]["args"] = [*kept, *SCAN]
        self.cluster.apply(pod, namespace=self.namespace)

    def said(self):
        """Return what the driver has said."""
        lines = self.cluster.run("logs", "driver", "-n", self.namespace).stdout.splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def reached(self, state, seconds):
        """Wait until the driver says that it has come so far."""

        def there():
            phase = self.cluster.get("pod", "driver", "-n", self.namespace)["status"]["phase"]
            assert phase != "Failed", self.cluster.run("logs", "driver", "-n", self.namespace).stdout
            return any(line["state"] == state for line in self.said())

        until(there, seconds)
        return next(line for line in self.said() if line["state"] == state)

    def metrics(self, pod):
        """Return what a pod tells Prometheus."""
        return self.cluster.ask("get", "--raw", f"/api/v1/namespaces/{self.namespace}/pods/{pod}:9101/proxy/metrics")


@pytest.fixture
def stage(cluster, namespace, manifest):
    """Give a stage; only on a node whose folders can be seen from here."""
    if cluster.layout is None:
        pytest.skip("the sockets' folders are on a node of the tests' own; CHARON_TEST_KUBECONFIG names another")
    with kinds_known(cluster):
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


def test_the_manifests_containers_make_the_embedded_engines_image(stage, expected, tmp_path, figures):
    # The guide's order: the pipeline first, the detector when it runs.
    began = time.monotonic()
    for vertex in ("in", "cat", "image", "out"):
        stage.start(vertex)
    stage.start("cat", 1)
    stage.drive()
    stage.reached("driving", 150)
    figures["vertices applied to all ready, s"] = round(time.monotonic() - began, 1)
    stage.detect()
    stage.reached("first", 90)
    figures["vertices applied to first patch, detector started after them, s"] = round(time.monotonic() - began, 1)
    # A replica of inference goes in mid-run, with too little time to be asked no more.
    gone = ["delete", "pod", "ptychography-cat-1", "-n", stage.namespace, "--wait=false", "--grace-period=1"]
    stage.cluster.ask(*gone)
    done = stage.reached("done", 120)
    assert (done["dropped"], done["pending"], done["gone"]) == (0, 0, 1)

    exposed = stage.metrics("ptychography-image-0")
    (line,) = [line for line in exposed.splitlines() if line.startswith("charon_frames_total{") and "reconstr" in line]
    assert line.endswith(f" {FRAMES}")

    pods = ["in-0", "cat-0", "image-0", "out-0"]
    for pod in pods:
        lines = stage.metrics(f"ptychography-{pod}").splitlines()
        (resident,) = [line for line in lines if line.startswith("charon_resident_memory_bytes")]
        figures[f"memory of {pod}, MiB"] = round(float(resident.split()[-1]) / 2**20)
    stage.cluster.ask("delete", "pod", "-n", stage.namespace, *[f"ptychography-{pod}" for pod in pods], timeout=90)
    account = status(stage, tmp_path)["account"]
    assert (account["published"], account["accepted"], account["missed"]) == (FRAMES, FRAMES, 0)
    assert (account["reconstructed"], account["in_flight"], account["lost"], account["duplicates"]) == (FRAMES, 0, 0, 0)

    stitched = read_image(stage.results / "scan-1.h5")
    assert stitched.phase.shape == expected.phase.shape
    assert stitched.origin_m == pytest.approx(expected.origin_m)
    np.testing.assert_allclose(stitched.weight, expected.weight, rtol=1e-4, atol=1e-5)
    inside = expected.weight > 1e-3 * expected.weight.max()
    np.testing.assert_allclose(stitched.transmission[inside], expected.transmission[inside], atol=1e-4)
