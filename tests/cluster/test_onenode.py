"""The test cluster runs pods, services and limits, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from polling import wait_until


def test_node_is_ready_with_expected_version(cluster):
    (node,) = cluster.get("nodes")["items"]
    conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.33.")


def test_pods_connect_to_a_service_by_name(cluster, namespace):
    server = "import http.server as h; h.ThreadingHTTPServer(('', 8000), h.SimpleHTTPRequestHandler).serve_forever()"
    cluster.apply(
        _pod("server", ["python3", "-c", server], labels={"app": "server"}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
        },
        namespace=namespace,
    )
    cluster.call("wait", "-n", namespace, "--for=condition=Ready", "pod/server", "--timeout=60s")
    address = f"http://server.{namespace}.svc.cluster.local"
    client = f"import urllib.request as u; print(u.urlopen('{address}', timeout=20).status)"
    cluster.apply(_pod("client", ["python3", "-c", client]), namespace=namespace)
    wait_until(lambda: cluster.get("pod", "client", "-n", namespace)["status"]["phase"] == "Succeeded", 60)
    assert cluster.call("logs", "-n", namespace, "client").strip() == "200"


def test_exec_and_memory_limit_work(cluster, namespace):
    greedy = "x = bytearray(256 * 2**20); import time; time.sleep(60)"
    pod = _pod("greedy", ["python3", "-c", greedy])
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    cluster.apply(pod, _pod("idle", ["sleep", "300"]), namespace=namespace)
    cluster.call("wait", "-n", namespace, "--for=condition=Ready", "pod/idle", "--timeout=60s")
    assert cluster.call("exec", "-n", namespace, "idle", "--", "id", "-u").strip() != "0"

    def killed() -> bool:
        statuses = cluster.get("pod", "greedy", "-n", namespace)["status"].get("containerStatuses", [])
        return any(s["state"].get("terminated", {}).get("reason") == "OOMKilled" for s in statuses)

    wait_until(killed, 60)


def test_killed_owner_leaves_nothing_behind(cluster):
    if cluster.layout is None:
        pytest.skip("CHARON_TEST_KUBECONFIG selects the user's own cluster")
    owner = (
        "import signal, sys; from onenode.cluster import run_cluster; import images\n"
        "with run_cluster([images.pause_archive()]) as c: print(c.pid, c.layout.root, flush=True); signal.pause()"
    )
    setting = Path("/proc/sys/vm/overcommit_memory").read_text()
    process = subprocess.Popen(
        [sys.executable, "-c", owner], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    pid, root = process.stdout.readline().split()
    assert Path(f"/proc/{pid}").exists()
    process.kill()
    process.wait(10)
    process.stdout.close()
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 60)
    time.sleep(0.5)
    commands = [p.read_bytes().decode(errors="replace") for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [c for c in commands if root in c]
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if root in line]
    # The kubelet of the session's cluster has changed it before.
    assert Path("/proc/sys/vm/overcommit_memory").read_text() == setting


def _pod(name: str, command: list[str], labels: dict[str, str] | None = None) -> dict:
    container = {"name": "main", "image": "charon:latest", "imagePullPolicy": "IfNotPresent", "command": command}
    return json.loads(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "labels": labels or {}},
                "spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1, "containers": [container]},
            }
        )
    )
