"""The cluster that the tests make is a real one, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from charon_pods import until


def test_node_is_ready_and_says_its_version(cluster):
    (node,) = cluster.get("nodes")["items"]
    conditions = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert conditions["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"].startswith("v1.33.")


def test_pods_find_a_service_by_name_and_talk_over_tcp(cluster, namespace):
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
    cluster.ask("wait", "-n", namespace, "--for=condition=Ready", "pod/server", "--timeout=60s")
    address = f"http://server.{namespace}.svc.cluster.local"
    client = f"import urllib.request as u; print(u.urlopen('{address}', timeout=20).status)"
    cluster.apply(_pod("client", ["python3", "-c", client]), namespace=namespace)
    until(lambda: cluster.get("pod", "client", "-n", namespace)["status"]["phase"] == "Succeeded", 60)
    assert cluster.ask("logs", "-n", namespace, "client").strip() == "200"


def test_exec_and_a_limit_of_memory_hold(cluster, namespace):
    greedy = "x = bytearray(256 * 2**20); import time; time.sleep(60)"
    pod = _pod("greedy", ["python3", "-c", greedy])
    pod["spec"]["containers"][0]["resources"] = {"limits": {"memory": "64Mi"}}
    cluster.apply(pod, _pod("idle", ["sleep", "300"]), namespace=namespace)
    cluster.ask("wait", "-n", namespace, "--for=condition=Ready", "pod/idle", "--timeout=60s")
    assert cluster.ask("exec", "-n", namespace, "idle", "--", "id", "-u").strip() != "0"

    def killed() -> bool:
        statuses = cluster.get("pod", "greedy", "-n", namespace)["status"].get("containerStatuses", [])
        return any(s["state"].get("terminated", {}).get("reason") == "OOMKilled" for s in statuses)

    until(killed, 60)


def test_nothing_is_left_behind_when_its_owner_is_killed(cluster):
    if cluster.layout is None:
        pytest.skip("CHARON_TEST_KUBECONFIG names a cluster that is not the tests' own")
    owner = (
        "import signal, sys; from onenode.cluster import started; import images\n"
        "with started([images.pause_archive()]) as c: print(c.pid, c.layout.root, flush=True); signal.pause()"
    )
    before = Path("/proc/sys/vm/overcommit_memory").read_text()
    process = subprocess.Popen(
        [sys.executable, "-c", owner], cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True
    )
    pid, root = process.stdout.readline().split()
    assert Path(f"/proc/{pid}").exists()
    process.kill()
    process.wait(10)
    process.stdout.close()
    until(lambda: not Path(f"/proc/{pid}").exists(), 60)
    time.sleep(0.5)
    commands = [p.read_bytes().decode(errors="replace") for p in Path("/proc").glob("[0-9]*/cmdline") if p.exists()]
    assert not [c for c in commands if root in c]
    assert not [line for line in Path("/proc/mounts").read_text().splitlines() if root in line]
    # The other cluster's kubelet had set it already.
    assert Path("/proc/sys/vm/overcommit_memory").read_text() == before


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
