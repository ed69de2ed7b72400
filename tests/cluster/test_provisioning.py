"""The roles for a running cluster: ``charonctl provision`` twice, with Kubernetes and Helm.

A manifest and a chart of the test replace Numaflow and kube-prometheus-stack. They contain what the roles refer to:
names, the pull policy, and the secret and port that the role sets in the chart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from onenode.cluster import Cluster

ROOT = Path(__file__).resolve().parents[2]
MASTER = ROOT / "ansible/provision-masternode.yaml"
DEFAULTS = (ROOT / "ansible/roles/charon/defaults/main.yml").read_text()
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "charon/provision/helm"
PAUSE = "docker.io/charon-tests/pause:1"
HELM_MODULE = "helm.sh/helm/v3/cmd/helm@v3.18.6"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def helm() -> Path:
    """Return the path of Helm, which is built once from its module."""
    program = CACHE / "helm"
    if not program.is_file():
        CACHE.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "GOBIN": str(CACHE), "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
        done = subprocess.run(
            ["go", "install", HELM_MODULE], cwd=CACHE, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"building Helm failed: {done.stderr[-300:]}")
    return program


def deployment(name: str) -> str:
    return f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
        - name: main
          image: {PAUSE}
          imagePullPolicy: Always
"""


GRAFANA = f"""apiVersion: apps/v1
kind: Deployment
metadata: {{name: {{{{ .Release.Name }}}}-grafana}}
spec:
  selector: {{matchLabels: {{app: grafana}}}}
  template:
    metadata: {{labels: {{app: grafana}}}}
    spec:
      containers:
        - name: grafana
          image: {PAUSE}
          imagePullPolicy: Never
          env:
            - name: GF_SECURITY_ADMIN_PASSWORD
              valueFrom:
                secretKeyRef:
                  name: {{{{ .Values.grafana.admin.existingSecret }}}}
                  key: {{{{ .Values.grafana.admin.passwordKey }}}}
---
apiVersion: v1
kind: Service
metadata: {{name: {{{{ .Release.Name }}}}-grafana}}
spec:
  type: {{{{ .Values.grafana.service.type }}}}
  selector: {{app: grafana}}
  ports: [{{port: 80, nodePort: {{{{ .Values.grafana.service.nodePort }}}}}}]
"""
# Fields that the operator's definitions require.
ENDPOINTS = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}


def monitor_kind(kind: str) -> dict[str, Any]:
    selector = {"type": "object", "properties": {key: {"type": t} for key, t in LABELS.items()}}
    selector["properties"]["matchLabels"]["additionalProperties"] = {"type": "string"}
    selector["properties"]["matchExpressions"]["items"] = {
        "type": "object",
        "required": ["key", "operator"],
        "properties": {"key": {"type": "string"}, "operator": {"type": "string"}},
    }
    endpoint = {
        "type": "object",
        "properties": {
            "port": {"type": "string"},
            "targetPort": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "scheme": {"type": "string", "enum": ["http", "https"]},
            "interval": {"type": "string", "pattern": r"^([0-9]+(ms|s|m|h))$"},
            "tlsConfig": {"type": "object", "properties": {"insecureSkipVerify": {"type": "boolean"}}},
        },
    }
    spec = {
        "type": "object",
        "required": ["selector", ENDPOINTS[kind]],
        "properties": {
            "namespaceSelector": {"type": "object", "properties": {"any": {"type": "boolean"}}},
            "selector": selector,
            ENDPOINTS[kind]: {"type": "array", "items": endpoint},
        },
    }
    schema = {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": spec}}}
    plural = kind.lower() + "s"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.monitoring.coreos.com"},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


LABELS = {"matchLabels": "object", "matchExpressions": "array"}


def artifacts(folder: Path) -> Path:
    """Write the replacement manifest and chart, with their checksums."""
    files = folder / "files"
    files.mkdir()
    numaflow = "---\n".join(deployment(name) for name in ("numaflow-controller", "numaflow-server"))
    (files / "numaflow-v1.4.6.yaml").write_text(numaflow)
    name, version = "kube-prometheus-stack", "77.11.1"
    with tarfile.open(files / f"{name}-{version}.tgz", "w:gz") as chart:
        for path, text in (
            ("Chart.yaml", f"apiVersion: v2\nname: {name}\nversion: {version}\n"),
            ("templates/grafana.yaml", GRAFANA),
        ):
            entry = tarfile.TarInfo(f"{name}/{path}")
            entry.size = len(text.encode())
            chart.addfile(entry, BytesIO(text.encode()))
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(files.iterdir())]
    (files / "SHA256SUMS").write_text("".join(sums))
    return folder


@pytest.fixture(scope="module")
def provision(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory):
    """Yield a function that provisions the cluster, and delete its objects afterwards."""
    folder = tmp_path_factory.mktemp("provision")
    settings = {
        "charon_artifacts": str(artifacts(folder)),
        "charon_folder": str(folder / "kept"),
        "charon_kubeconfig": str(cluster.kubeconfig),
        "charon_kubectl": f"{cluster.kubectl} --kubeconfig {cluster.kubeconfig}",
        "charon_grafana_port": 30980,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    kinds = [monitor_kind(kind) for kind in ENDPOINTS]
    cluster.apply(*kinds)
    cluster.call(
        "wait", "--for=condition=Established", "crd", *[kind["metadata"]["name"] for kind in kinds], "--timeout=30s"
    )

    def run(tags: str, **overrides: str):
        (folder / "overrides.json").write_text(json.dumps(overrides))
        call = ["provision", "--json", str(MASTER), "localhost", "--tags", tags]
        call += ["-e", f"@{folder / 'settings.json'}", "-e", f"@{folder / 'overrides.json'}"]
        return subprocess.run(
            [sys.executable, "-m", "charon.cli.main", *call],
            env={name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    yield run
    cluster.run("delete", "namespace", "numaflow-system", "monitoring", "--wait=true", timeout=120)
    cluster.run("delete", "crd", *[kind["metadata"]["name"] for kind in kinds])


def changed(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["changed"].get("localhost", [])


def password(cluster: Cluster) -> str:
    data = cluster.get("secret", "grafana-admin", "-n", "monitoring")["data"]
    assert base64.b64decode(data["admin-user"]) == b"admin"
    return base64.b64decode(data["admin-password"]).decode()


def test_numaflow_role_is_idempotent(cluster, provision) -> None:
    first = changed(provision("numaflow"))
    assert "numaflow : Install Numaflow" in first
    server = cluster.get("deployment", "numaflow-server", "-n", "numaflow-system")
    assert server["status"]["readyReplicas"] == 1
    # The kubelet does not pull an image that is on the node.
    assert server["spec"]["template"]["spec"]["containers"][0]["imagePullPolicy"] == "IfNotPresent"
    assert changed(provision("numaflow")) == []


def test_monitors_role_is_idempotent(cluster, provision) -> None:
    cluster.run("create", "namespace", "monitoring")
    assert changed(provision("monitors")) == ["monitors : Create the ServiceMonitors and PodMonitors"]
    assert changed(provision("monitors")) == []
    monitors = cluster.get("servicemonitors,podmonitors", "-n", "monitoring")["items"]
    assert len(monitors) == 6
    workload = next(item for item in monitors if item["metadata"]["name"] == "workload")
    assert workload["spec"]["selector"]["matchLabels"] == {"role": "workload"}
    # The API server drops fields that the operator's definitions do not have; it dropped none.
    assert workload["spec"]["podMetricsEndpoints"] == [{"port": "charon-metrics", "interval": "5s"}]


def test_monitoring_role_generates_one_password(cluster, provision) -> None:
    done = provision("monitoring", charon_helm=str(helm()))
    first = changed(done)
    assert "chart : Install prometheus" in first
    generated = password(cluster)
    assert len(generated) == 24
    assert generated not in done.stdout + done.stderr
    ports = cluster.get("service", "prometheus-grafana", "-n", "monitoring")["spec"]["ports"]
    assert ports[0]["nodePort"] == 30980
    assert changed(provision("monitoring", charon_helm=str(helm()))) == []
    assert password(cluster) == generated


def test_changed_password_restarts_grafana(cluster, provision) -> None:
    settings = {"charon_grafana_password": "light-source-42", "charon_helm": str(helm())}
    done = provision("monitoring", **settings)
    assert "monitoring : Restart Grafana with the new password" in changed(done)
    assert password(cluster) == "light-source-42"
    assert "light-source-42" not in done.stdout + done.stderr
    assert changed(provision("monitoring", **settings)) == []


def test_summary_shows_how_to_get_the_password(provision) -> None:
    done = provision("summary")
    assert changed(done) == []
    message = json.loads(done.stdout)["messages"][0]
    assert "kubectl get secret -n monitoring grafana-admin" in message
    assert "http://localhost:30980" in message
    assert DEFAULTS.count("charon_grafana_password") == 1
