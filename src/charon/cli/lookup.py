"""Find the pipeline that a command addresses: a local run, or one on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.kubernetes import cluster_configured
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.adapters.kubernetes import Kubectl
    from charon.engines.cluster import ClusterPipeline


def is_local(pipeline: str | None, choice: bool | None) -> bool:
    """Return whether a command addresses a local run.

    Parameters
    ----------
    pipeline
        Name of the pipeline; None means the only one.
    choice
        True for a local run, False for a cluster. None selects a local run if one has this name or if no cluster is
        configured, else the cluster.
    """
    from charon.engines.embedded import find_runs  # noqa: PLC0415 - imports NATS

    if choice is not None:
        return choice
    matches = [run for run in find_runs() if pipeline in {None, run.pipeline}]
    return bool(matches) or not cluster_configured()


def pipeline_on_cluster(kubectl: Kubectl, pipeline: str | None, namespace: str | None) -> ClusterPipeline:
    """Return the named pipeline, or the only one of the namespace.

    Raises
    ------
    UsageError
        If no name is given and the namespace has no pipeline, or several.
    """
    from charon.engines.cluster import ClusterPipeline, list_pipelines  # noqa: PLC0415 - imports NATS

    namespace = namespace or kubectl.namespace()
    if pipeline is None:
        names = list_pipelines(kubectl, namespace)
        if not names:
            raise UsageError(f"no pipeline in namespace {namespace}; start one with: charonctl run FILE")
        if len(names) > 1:
            raise UsageError(f"several pipelines in namespace {namespace}: {', '.join(names)}; specify one")
        pipeline = names[0]
    return ClusterPipeline(kubectl, pipeline, namespace)
