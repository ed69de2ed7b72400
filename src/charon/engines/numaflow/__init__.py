"""The Numaflow engine: a vertex is a gRPC server in a pod, called by Numaflow's container in the same pod."""

from charon.engines.numaflow.worker import work

__all__ = ["work"]
