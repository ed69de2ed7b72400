"""Replace Numaflow's controller: create objects of its kinds, and pods with its labels.

The definitions of the kinds accept any field, and only the test acts on the objects. The names of labels, secrets and
services are those of Numaflow 1.4.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onenode.cluster import Cluster

GROUP = "numaflow.numaproj.io"
KINDS = {"Pipeline": "pipelines", "InterStepBufferService": "interstepbufferservices", "Vertex": "vertices"}
IMAGE = "charon:latest"


@contextlib.contextmanager
def numaflow_kinds(cluster: Cluster) -> Iterator[None]:
    """Define Numaflow's kinds on the cluster, with definitions that accept any field, unless Numaflow is installed."""
    missing = {
        kind: plural
        for kind, plural in KINDS.items()
        if cluster.run("get", "crd", f"{plural}.{GROUP}", "-o", "name").returncode
    }
    names = [f"{plural}.{GROUP}" for plural in missing.values()]
    if missing:
        cluster.apply(*[_definition(kind, plural) for kind, plural in missing.items()])
        cluster.call("wait", "--for=condition=Established", "--timeout=30s", *[f"crd/{name}" for name in names])
    try:
        yield
    finally:
        if names:
            cluster.run("delete", "crd", *names, "--wait=false")


def _definition(kind: str, plural: str) -> dict[str, Any]:
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [version],
        },
    }


def vertex_pod(pipeline: str, vertex: str, container: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Return a pod as Numaflow creates it for a vertex, or for the daemon if the vertex is `daemon`."""
    component = "daemon" if vertex == "daemon" else "vertex"
    labels = {
        "app.kubernetes.io/part-of": "numaflow",
        "app.kubernetes.io/managed-by": "pipeline-controller" if component == "daemon" else "vertex-controller",
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/name": f"{pipeline}-{vertex}",
        f"{GROUP}/pipeline-name": pipeline,
    }
    if component == "vertex":
        labels[f"{GROUP}/vertex-name"] = vertex
    name = f"{pipeline}-{vertex}-0-{secrets.token_hex(3)[:5]}"
    main = {"name": "main", "image": IMAGE, "imagePullPolicy": "IfNotPresent", **container}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels, "annotations": {f"{GROUP}/replica": "0"}},
        "spec": {"containers": [main], "terminationGracePeriodSeconds": 0, **spec},
    }


def sleeping(seconds: int = 3600) -> dict[str, Any]:
    """Return a container that sleeps."""
    return {"command": ["sleep", str(seconds)]}


def pipeline_of(name: str, vertices: list[str]) -> dict[str, Any]:
    """Return a linear Pipeline: a source, maps, a sink."""

    def body(index: int) -> dict[str, Any]:
        container = {"container": {"image": IMAGE, "args": ["log-sink"]}}
        if index == 0:
            return {"source": {"udsource": container}}
        return {"sink": {"udsink": container}} if index == len(vertices) - 1 else {"udf": container}

    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "Pipeline",
        "metadata": {"name": name},
        "spec": {
            "vertices": [{"name": vertex, **body(index)} for index, vertex in enumerate(vertices)],
            "edges": [{"from": a, "to": b} for a, b in pairwise(vertices)],
        },
    }


def set_status(cluster: Cluster, namespace: str, name: str, **status: Any) -> None:
    """Set the status of a Pipeline, as its controller does."""
    patch = json.dumps({"status": status})
    kind = f"pipelines.{GROUP}"
    cluster.call("patch", kind, name, "-n", namespace, "--subresource=status", "--type=merge", f"--patch={patch}")


def nats_pod(credentials: dict[str, str]) -> list[dict[str, Any]]:
    """Return the NATS server of the inter-step buffer: a pod, its Service, and the Secret with its credentials."""
    labels = {"app.kubernetes.io/component": "isbsvc", f"{GROUP}/isbsvc-name": "default"}
    env = [
        {
            "name": name,
            "valueFrom": {"secretKeyRef": {"name": "isbsvc-default-js-client-auth", "key": f"client-auth-{key}"}},
        }
        for name, key in (("JS_USER", "user"), ("JS_PASSWORD", "password"))
    ]
    arguments = ["-js", "-sd", "/tmp/js", "--user", "$(JS_USER)", "--pass", "$(JS_PASSWORD)"]  # noqa: S108 - a folder of the pod
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["nats-server"],
        "args": arguments,
        "env": env,
        "readinessProbe": {"tcpSocket": {"port": 4222}, "periodSeconds": 1},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "isbsvc-default-js-client-auth"},
            "stringData": {f"client-auth-{key}": value for key, value in credentials.items()},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "isbsvc-default-js-svc"},
            "spec": {
                "clusterIP": "None",
                "selector": labels,
                "publishNotReadyAddresses": True,
                "ports": [{"name": "tcp-client", "port": 4222}],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "isbsvc-default-js-0", "labels": labels},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
        },
    ]
