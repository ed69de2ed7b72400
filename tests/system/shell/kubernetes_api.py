"""A fake Kubernetes API server for completion, with a configurable delay."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import suppress


class Api(http.server.ThreadingHTTPServer):
    """The part of a Kubernetes API server that kubectl needs to complete names of pods and pipelines.

    Parameters
    ----------
    kubeconfig
        Path of a kubeconfig for this server; its user writes it.
    delay_s
        Delay of each response.
    """

    daemon_threads = True

    def __init__(self, kubeconfig, delay_s=0.0):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.kubeconfig = kubeconfig
        self.delay_s = delay_s
        self.requests = []
        self.closing = threading.Event()

    @property
    def url(self):
        """Address of the server."""
        return f"http://127.0.0.1:{self.server_address[1]}"


def _listing(kind, version, names):
    items = [
        {"kind": kind, "apiVersion": version, "metadata": {"name": name, "namespace": space}} for space, name in names
    ]
    return {"kind": f"{kind}List", "apiVersion": version, "metadata": {}, "items": items}


def _resources(version, *rows):
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": version,
        "resources": [
            {"name": name, "singularName": kind.lower(), "namespaced": True, "kind": kind, "verbs": ["get", "list"]}
            for name, kind in rows
        ],
    }


PIPELINES = [("beamline", "ptychography"), ("testing", "ptychography"), ("default", "tomography")]
_GROUP = {"groupVersion": "numaflow.numaproj.io/v1alpha1", "version": "v1alpha1"}
OBJECTS = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [{"name": "numaflow.numaproj.io", "versions": [_GROUP], "preferredVersion": _GROUP}],
    },
    "/api/v1": _resources("v1", ("pods", "Pod"), ("services", "Service")),
    "/apis/numaflow.numaproj.io/v1alpha1": _resources(_GROUP["groupVersion"], ("pipelines", "Pipeline")),
    "/api/v1/namespaces/default/pods": _listing(
        "Pod", "v1", [("default", "isbsvc-default-js-0"), ("default", "ptychography-in-0-s8ddk")]
    ),
    "/apis/numaflow.numaproj.io/v1alpha1/pipelines": _listing("Pipeline", _GROUP["groupVersion"], PIPELINES),
}


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Api

    def do_GET(self):
        self.server.requests.append(self.path)
        self.server.closing.wait(self.server.delay_s)
        document = OBJECTS.get(self.path.partition("?")[0])
        body = json.dumps(
            document or {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        ).encode()
        self.send_response(200 if document else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):
            self.wfile.write(body)

    def log_message(self, *_):
        pass
