"""Test of the guide docs/how-to/run-on-kubernetes.md: its commands in order, in the shell, on a Kubernetes cluster.

The test acts as Numaflow's controller (`numaflow_objects`): it creates pods with Charon's programs.
"""

from __future__ import annotations

import json
import subprocess
import threading
from pathlib import Path

import pytest
from numaflow_objects import GROUP, numaflow_kinds, set_status, sleeping, vertex_pod
from polling import wait_until
from shell_terminal import Terminal

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def home(cluster, namespace, tmp_path):
    """Return the environment of a user whose kubeconfig selects the test's namespace."""
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
    """Yield the manifest of the volumes, and delete the volumes afterwards."""
    name = "workflows/aps/numaflow-storage-class.yaml"
    yield name
    cluster.run("delete", "-f", str(ROOT / name), "--ignore-not-found", "--wait=false")


def act_as_controller(cluster, namespace):
    """Create the pods of the pipeline when it is applied, and pause it on request."""

    def act():
        get = ["get", f"pipelines.{GROUP}", "ptychography", "-n", namespace]
        wait_until(lambda: cluster.run(*get).returncode == 0, 120)
        pods = [vertex_pod("ptychography", name, sleeping()) for name in ("in", "cat", "out", "daemon")]
        cluster.apply(*pods, namespace=namespace)
        set_status(cluster, namespace, "ptychography", phase="Running")

        def pause_requested():
            phase = cluster.run(*get, "-o", "jsonpath={.spec.lifecycle.desiredPhase}")
            return phase.stdout == "Paused"

        wait_until(pause_requested, 200)
        set_status(cluster, namespace, "ptychography", phase="Paused", drainedOnPause=True)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def test_guide_commands_work_in_order(cluster, namespace, home, volumes):
    with numaflow_kinds(cluster):
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


def test_shell_reads_commands_from_a_pipe(cluster, namespace, home):
    command = [str(ROOT / "charonctl")]
    lines = "kubectl get namespace default -o name\nkubectl get pod missing\nkubectl get node -o name\n"
    done = subprocess.run(
        command, input=lines, env=home, capture_output=True, text=True, timeout=120, check=False, cwd=ROOT
    )
    assert done.stdout.splitlines()[0] == "namespace/default"
    assert "node/" in done.stdout, "continues after a failed line"
    assert done.returncode == 1
    assert 'pods "missing" not found' in done.stderr
