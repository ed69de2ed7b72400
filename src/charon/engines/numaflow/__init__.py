"""A pipeline on Numaflow: each vertex a server in a pod, asked by Numaflow's own container beside it."""

from charon.engines.numaflow.worker import work

__all__ = ["work"]
