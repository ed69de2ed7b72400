"""A pipeline on a Kubernetes cluster, as its user sees it: applied, waited for, asked, ended."""

from charon.engines.cluster.account import read_account
from charon.engines.cluster.names import PIPELINES
from charon.engines.cluster.observe import ClusterView, PodView, VertexView, list_pipelines, observe
from charon.engines.cluster.pipeline import ClusterPipeline, Stopped
from charon.engines.cluster.volumes import Volume, reclaim_volumes, released_volumes, volumes_of
from charon.engines.cluster.waiting import NotRunningError, wait_until_running

__all__ = [
    "PIPELINES",
    "ClusterPipeline",
    "ClusterView",
    "NotRunningError",
    "PodView",
    "Stopped",
    "VertexView",
    "Volume",
    "list_pipelines",
    "observe",
    "read_account",
    "reclaim_volumes",
    "released_volumes",
    "volumes_of",
    "wait_until_running",
]
