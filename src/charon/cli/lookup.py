"""Whether a pipeline is meant that runs here or one on a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.kubernetes import cluster_configured
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.adapters.kubernetes import Kubectl
    from charon.engines.cluster import ClusterPipeline


def is_local(pipeline: str | None, said: bool | None) -> bool:
    """Return whether to look on this machine.

    Parameters
    ----------
    pipeline
        Its name; None means the only one.
    said
        What the user said: here, on a cluster, or nothing. Then what runs here goes before what runs on a
        cluster, and where no cluster is known it is here.
    """
    from charon.engines.embedded import find_runs  # noqa: PLC0415 - imports NATS

    if said is not None:
        return said
    here = [run for run in find_runs() if pipeline in {None, run.pipeline}]
    return bool(here) or not cluster_configured()


def pipeline_on_cluster(kubectl: Kubectl, pipeline: str | None, namespace: str | None) -> ClusterPipeline:
    """Return the pipeline of a name, or the only one of the namespace.

    Raises
    ------
    UsageError
        If none is named and there is none, or several.
    """
    from charon.engines.cluster import ClusterPipeline, list_pipelines  # noqa: PLC0415 - imports NATS

    where = namespace or kubectl.namespace()
    if pipeline is None:
        found = list_pipelines(kubectl, where)
        if not found:
            raise UsageError(f"no pipeline is in namespace {where}; start one with: charonctl run FILE")
        if len(found) > 1:
            raise UsageError(f"several pipelines are in namespace {where}: {', '.join(found)}; name one")
        pipeline = found[0]
    return ClusterPipeline(kubectl, pipeline, where)
