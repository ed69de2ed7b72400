"""Apply, observe and stop a pipeline on a Kubernetes cluster, from outside the cluster."""

from charon.engines.cluster.account import read_account
from charon.engines.cluster.names import PIPELINES
from charon.engines.cluster.observe import ClusterView, PodView, VertexView, list_pipelines, observe
from charon.engines.cluster.pipeline import ClusterPipeline, StopResult
from charon.engines.cluster.pods import is_ready, stuck_reason
from charon.engines.cluster.volumes import Volume, list_volumes, reclaim_volumes, released_volumes
from charon.engines.cluster.waiting import NotRunningError, wait_until_running

__all__ = [
    "PIPELINES",
    "ClusterPipeline",
    "ClusterView",
    "NotRunningError",
    "PodView",
    "StopResult",
    "VertexView",
    "Volume",
    "is_ready",
    "list_pipelines",
    "list_volumes",
    "observe",
    "read_account",
    "reclaim_volumes",
    "released_volumes",
    "stuck_reason",
    "wait_until_running",
]
