"""The Pipeline manifest: Numaflow's own form, read strictly.

One manifest drives the embedded engine and a cluster. Fields that say how a cluster is to run it are left to the
cluster; others that Numaflow v1.4 knows and the embedded engine does not honour are named in a warning; fields that
nobody knows are an error, because a mistyped limit that is passed over is worse than one that is refused.

References
----------
https://numaflow.numaproj.io/APIs/
"""

from charon.engines.manifest.parts import Container, EnvVar, Limits, Scale
from charon.engines.manifest.pipeline import Edge, Pipeline, Spec, Vertex
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
    "parse_pipeline",
    "read_pipeline",
]
