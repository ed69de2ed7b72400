"""Configuration and command line of each program of the cluster."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from onenode.layout import (
    API_PORT,
    DOMAIN,
    NODE,
    NODE_ADDRESS,
    NODE_PODS,
    PAUSE_IMAGE,
    POD_NETWORK,
    SERVICE_NETWORK,
)
from onenode.parts import CNI

if TYPE_CHECKING:
    from pathlib import Path

    from onenode.layout import Layout

ETCD = "http://127.0.0.1:2379"


@dataclass(frozen=True, slots=True)
class Component:
    """A program to start.

    Parameters
    ----------
    name
        Name of its log.
    command
        Program and arguments.
    probe
        URL that returns status 200 when the program is ready, or path of its socket; empty if there is no check.
    environment
        Added to the environment of the supervisor.
    """

    name: str
    command: list[str]
    probe: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def _write(path: Path, content: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return str(path)


def _json(path: Path, document: object) -> str:
    return _write(path, json.dumps(document, indent=1))


def control_plane(layout: Layout) -> list[Component]:
    """Return the components of the control plane, in the order in which they start."""
    pki = layout.pki
    program = layout.programs
    etcd = Component(
        "etcd",
        [
            "etcd",
            f"--data-dir={layout.folder('etcd')}",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
            # The data of a test cluster need not survive a power cut.
            "--unsafe-no-fsync",
        ],
        probe=f"{ETCD}/health",
        environment={"ETCD_UNSUPPORTED_ARCH": ""},
    )
    api = Component(
        "kube-apiserver",
        [
            f"{program}/kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--bind-address={NODE_ADDRESS}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--client-ca-file={pki}/ca.crt",
            f"--service-account-key-file={pki}/accounts.pub",
            f"--service-account-signing-key-file={pki}/accounts.key",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--kubelet-client-certificate={pki}/kubelet-client.crt",
            f"--kubelet-client-key={pki}/kubelet-client.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--anonymous-auth=true",
            "--allow-privileged=true",
            "--endpoint-reconciler-type=lease",
            "--profiling=false",
        ],
        probe=f"https://{NODE_ADDRESS}:{API_PORT}/readyz",
    )
    manager = Component(
        "kube-controller-manager",
        [
            f"{program}/kube-controller-manager",
            f"--kubeconfig={pki}/controller-manager.kubeconfig",
            f"--authentication-kubeconfig={pki}/controller-manager.kubeconfig",
            f"--authorization-kubeconfig={pki}/controller-manager.kubeconfig",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/accounts.key",
            "--use-service-account-credentials",
            "--allocate-node-cidrs",
            f"--cluster-cidr={POD_NETWORK}",
            f"--service-cluster-ip-range={SERVICE_NETWORK}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
    )
    scheduler = Component(
        "kube-scheduler",
        [
            f"{program}/kube-scheduler",
            f"--kubeconfig={pki}/scheduler.kubeconfig",
            f"--authentication-kubeconfig={pki}/scheduler.kubeconfig",
            f"--authorization-kubeconfig={pki}/scheduler.kubeconfig",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
        ],
    )
    return [etcd, api, manager, scheduler]


def node(layout: Layout) -> list[Component]:
    """Return the components that run and connect pods."""
    containerd = Component(
        "containerd",
        ["containerd", "--config", _write(layout.root / "containerd.toml", _containerd(layout))],
        probe=str(layout.runtime_socket),
    )
    _json(layout.folder("cni") / "10-pods.conflist", _pod_network(layout))
    kubelet = Component(
        "kubelet",
        [
            f"{layout.programs}/kubelet",
            f"--config={_json(layout.root / 'kubelet.json', _kubelet(layout))}",
            f"--kubeconfig={layout.pki}/kubelet.kubeconfig",
            f"--root-dir={layout.folder('kubelet')}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE_ADDRESS}",
        ],
    )
    proxy = Component(
        "kube-proxy",
        [f"{layout.programs}/kube-proxy", f"--config={_json(layout.root / 'proxy.json', _proxy(layout))}"],
    )
    dns = Component(
        "coredns",
        [f"{layout.programs}/coredns", "-conf", _write(layout.root / "Corefile", _corefile(layout))],
        probe=f"http://{NODE_ADDRESS}:8181/ready",
    )
    return [containerd, kubelet, proxy, dns]


def _containerd(layout: Layout) -> str:
    disabled = ", ".join(f'"io.containerd.snapshotter.v1.{name}"' for name in ("aufs", "btrfs", "devmapper", "zfs"))
    return f"""version = 2
root = "{layout.folder("containerd", "root")}"
state = "{layout.folder("containerd", "state")}"
disabled_plugins = [{disabled}]

[grpc]
  address = "{layout.runtime_socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE, root may not lower the oom_score_adj of a process.
  restrict_oom_score_adj = true
  stream_server_address = "127.0.0.1"

  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI}"
    conf_dir = "{layout.folder("cni")}"
"""


def _pod_network(layout: Layout) -> object:
    # Point to point: packets between pods are routed, so that replies of a Service pass the same address translation
    # as its requests.
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [
            {
                "type": "ptp",
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": NODE_PODS}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(layout.folder("addresses")),
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def _kubelet(layout: Layout) -> object:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{layout.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{layout.pki}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{layout.pki}/kubelet-server.key",
        "address": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1",
        "containerRuntimeEndpoint": f"unix://{layout.runtime_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{layout.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [NODE_ADDRESS],
        "clusterDomain": DOMAIN,
        # The name servers of the machine are not reachable inside.
        "resolvConf": "",
        "podLogsDir": str(layout.folder("pods")),
        "volumePluginDir": str(layout.folder("plugins")),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeStatusReportFrequency": "10s",
        "syncFrequency": "10s",
        "shutdownGracePeriod": "0s",
    }


def _proxy(layout: Layout) -> object:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{layout.pki}/proxy.kubeconfig"},
        "mode": "iptables",
        "clusterCIDR": POD_NETWORK,
        "hostnameOverride": NODE,
        "bindAddress": NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        # Zero keeps the values of the machine, which apply to all its namespaces.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }


def _corefile(layout: Layout) -> str:
    return f""".:53 {{
    bind {NODE_ADDRESS}
    errors
    ready {NODE_ADDRESS}:8181
    kubernetes {DOMAIN} in-addr.arpa {{
        kubeconfig {layout.pki}/dns.kubeconfig tests
        pods insecure
        ttl 5
    }}
    cache 5
}}
"""
