"""The guide's lines in the guide's order, typed into the shell of a checkout, on a real Kubernetes.

Numaflow's controller is stood in for by the test (`numaflow_objects`): pods with Charon's own programs in them.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest
from charon_pods import until
from numaflow_objects import GROUP, kinds_known, set_status, sleeping, vertex_pod
from shell_terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def home(cluster, namespace, tmp_path):
    """Give the environment of somebody whose cluster's namespace is the test's."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    kubeconfig.chmod(0o600)
    environment = {
        **cluster.environment,
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "KUBECONFIG": str(kubeconfig),
        "TERM": "xterm-256color",
    }
    command = [cluster.kubectl, "config", "set-context", "--current", f"--namespace={namespace}"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return environment


@pytest.fixture
def volumes(cluster):
    """Let no volume of the guide's be there before or after."""
    name = "workflows/aps/numaflow-storage-class.yaml"
    yield name
    cluster.run("delete", "-f", str(ROOT / name), "--ignore-not-found", "--wait=false")


def act_as_controller(cluster, namespace):
    """Make the pods of the pipeline when it comes, and pause it when it shall be paused."""

    def act():
        missing = ["get", f"pipelines.{GROUP}", "ptychography", "-n", namespace]
        until(lambda: cluster.run(*missing).returncode == 0, 120)
        pods = [vertex_pod("ptychography", name, sleeping()) for name in ("in", "cat", "out", "daemon")]
        cluster.apply(*pods, namespace=namespace)
        set_status(cluster, namespace, "ptychography", phase="Running")

        def paused():
            asked = cluster.run(*missing, "-o", "jsonpath={.spec.lifecycle.desiredPhase}")
            return asked.stdout == "Paused"

        until(paused, 200)
        set_status(cluster, namespace, "ptychography", phase="Paused", drainedOnPause=True)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_the_guides_lines_in_the_guides_order(cluster, namespace, home, volumes):
    with kinds_known(cluster):
        controller = act_as_controller(cluster, namespace)
        shell = Terminal(home, ROOT, [str(ROOT / "charonctl")])
        try:
            shell.prompt(60)
            assert "persistentvolume" in shell.run(f"kubectl apply -f {volumes}")
            assert "default created" in shell.run("kubectl apply -f workflows/aps/jetstream.yaml")
            assert "No resources found" in shell.run("kubectl get pod")

            ran = shell.run("run workflows/aps/numaflow-aps.yaml", 150)
            assert f"ptychography runs in namespace {namespace}: 3 vertices" in ran, ran
            pods = shell.run("kubectl get pod")
            for name in ("cat", "daemon", "in", "out"):
                assert f"ptychography-{name}-" in pods

            shell.run("kubectl apply -f workflows/aps/baseline-pvapy-sim-server.yaml")
            ready = "kubectl wait pod/baseline-pvapy-sim-server --for=condition=Ready --timeout=90s"
            assert "condition met" in shell.run(ready, 120)
            log = shell.run("kubectl logs baseline-pvapy-sim-server")
            assert "ad:image" in log, log

            assert "in: 1 of 1 replicas ready" in shell.run("status ptychography").replace("\n", " ")
            stopped = shell.run("stop ptychography", 120)
            assert "has ended" in stopped, stopped
            assert "deleted" in shell.run("kubectl delete -f workflows/aps/jetstream.yaml")
            assert "charon-local-0" in shell.run("reclaim")
            assert shell.leave("exit\r")[1] == 0
        finally:
            shell.close()
        controller.join(10)

    (record,) = [json.loads(p.read_text()) for p in Path(home["XDG_STATE_HOME"]).glob("charon/runs/*/*.json")]
    assert (record["name"], record["namespace"]) == ("ptychography", namespace)
    assert record["end"] is not None
    history = Path(home["XDG_STATE_HOME"]) / "charon/history"
    assert "kubectl apply -f workflows/aps/jetstream.yaml" in history.read_text()


def test_a_line_from_a_pipe(cluster, namespace, home):
    command = [str(ROOT / "charonctl")]
    lines = "kubectl get namespace default -o name\nkubectl get pod nobody\nkubectl get node -o name\n"
    done = subprocess.run(
        command, input=lines, env=home, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.stdout.splitlines()[0] == "namespace/default"
    assert "node/" in done.stdout, "it goes on after a line that failed"
    assert done.returncode == 1
    assert 'pods "nobody" not found' in done.stderr
