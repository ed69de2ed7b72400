"""Access to Kubernetes through kubectl; no other package calls kubectl."""

from charon.adapters.kubernetes.forward import PortForward
from charon.adapters.kubernetes.kubeconfig import KubectlCommand, cluster_configured, find_kubectl
from charon.adapters.kubernetes.kubectl import Kubectl, NotFoundOnClusterError
from charon.adapters.kubernetes.passthrough import pass_through

__all__ = [
    "Kubectl",
    "KubectlCommand",
    "NotFoundOnClusterError",
    "PortForward",
    "cluster_configured",
    "find_kubectl",
    "pass_through",
]
