"""Kubernetes, through kubectl: the only place that speaks to it."""

from charon.adapters.kubernetes.forward import PortForward
from charon.adapters.kubernetes.kubeconfig import Place, cluster_there, find_place
from charon.adapters.kubernetes.kubectl import Kubectl, NotFoundOnClusterError
from charon.adapters.kubernetes.passthrough import pass_through

__all__ = ["Kubectl", "NotFoundOnClusterError", "Place", "PortForward", "cluster_there", "find_place", "pass_through"]
