"""Read Pipeline manifests, in Numaflow's format, with strict validation.

The embedded engine and a cluster run the same manifest. The embedded engine ignores the fields that only configure a
cluster, and warns about other fields of Numaflow 1.4 that it does not support. An unknown field is an error, because a
mistyped limit would otherwise have no effect.

References
----------
https://numaflow.numaproj.io/APIs/
"""

from charon.engines.manifest.parts import Container, EnvVar, Limits, Scale
from charon.engines.manifest.pipeline import Edge, Pipeline, Spec, Vertex, edge_name
from charon.engines.manifest.reader import parse_pipeline, read_pipeline

__all__ = [
    "Container",
    "Edge",
    "EnvVar",
    "Limits",
    "Pipeline",
    "Scale",
    "Spec",
    "Vertex",
    "edge_name",
    "parse_pipeline",
    "read_pipeline",
]
