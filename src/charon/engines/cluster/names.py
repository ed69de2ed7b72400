"""Names of the objects that Numaflow 1.4 creates.

References
----------
https://github.com/numaproj/numaflow, pkg/apis/numaflow/v1alpha1/const.go and
pkg/reconciler/isbsvc/installer/jetstream.go
"""

from __future__ import annotations

PIPELINES = "pipelines.numaflow.numaproj.io"
VERTICES = "vertices.numaflow.numaproj.io"
BUFFER_SERVICES = "interstepbufferservices.numaflow.numaproj.io"

LABEL_PIPELINE = "numaflow.numaproj.io/pipeline-name"
LABEL_VERTEX = "numaflow.numaproj.io/vertex-name"
LABEL_COMPONENT = "app.kubernetes.io/component"
COMPONENT_VERTEX = "vertex"
COMPONENT_DAEMON = "daemon"
COMPONENT_JOB = "job"

DEFAULT_BUFFER_SERVICE = "default"
NATS_PORT = 4222
SECRET_USER = "client-auth-user"  # noqa: S105 - the name of the key
SECRET_PASSWORD = "client-auth-password"  # noqa: S105 - likewise


def nats_service(buffer_service: str) -> str:
    """Return the name of the NATS Service of an inter-step buffer service."""
    return f"isbsvc-{buffer_service}-js-svc"


def nats_secret(buffer_service: str) -> str:
    """Return the name of the Secret with the NATS user and password of an inter-step buffer service."""
    return f"isbsvc-{buffer_service}-js-client-auth"


def buffer_name(namespace: str, pipeline: str, vertex: str, partition: int) -> str:
    """Return the name of the buffer that a vertex reads, which is also that of its stream and consumer."""
    return f"{namespace}-{pipeline}-{vertex}-{partition}"
