"""A server and an agent on two nodes connected by a cable; programs are downloaded over HTTP with their checksums."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import artifacts as fakes
import pytest
from calls import ANSIBLE, charonctl, inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from node import Node

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

CLUSTER = ANSIBLE / "provision-cluster.yaml"
# Addresses reserved for tests of networks (RFC 2544).
SERVER, AGENT = "198.18.7.1", "198.18.7.2"


def serve(node: Node, folder: Path) -> subprocess.Popen[bytes]:
    """Serve a folder on the node's loopback instead of the projects' download servers."""
    copied = node.root / "srv/releases"
    subprocess.run(["/bin/cp", "-r", str(folder), str(copied)], check=True)
    return subprocess.Popen(
        node.inside("python3", "-m", "http.server", "8000", "--bind", "127.0.0.1", "--directory", "/srv/releases"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture(scope="module")
def nodes(boot: Callable[[str], Node], artifacts: Path) -> Iterator[tuple[Node, Node]]:
    server, agent = boot("node4"), boot("node5")
    cable = f"ip link add wire netns {server.pid} type veth peer name wire netns {agent.pid}"
    subprocess.run(cable.split(), check=True)
    for node, address in ((server, SERVER), (agent, AGENT)):
        node.run(f"ip address add {address}/24 dev wire; ip link set wire up")
    servers = [serve(node, artifacts) for node in (server, agent)]
    yield server, agent
    for process in servers:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def hosts(nodes: tuple[Node, Node], tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = {
        "charon_server_url": f"https://{SERVER}:6443",
        "charon_k3s_url": "http://127.0.0.1:8000/k3s",
        "charon_helm_url": "http://127.0.0.1:8000/helm",
    }
    return inventory(tmp_path_factory.mktemp("inventory") / "cluster.yaml", *nodes, **settings)


def test_agent_joins_with_generated_token(nodes: tuple[Node, Node], hosts: Path) -> None:
    server, agent = nodes
    call = ("--json", CLUSTER, "-i", hosts, "--tags", "k3s,helm")
    done = charonctl(*call, timeout=400)
    assert done.status == 0, done.stderr
    assert server.run("cat /var/lib/rancher/k3s/joined").stdout == "agent\n"
    assert agent.run("systemctl is-active k3s-agent").stdout.strip() == "active"
    assert agent.run("systemctl is-active k3s", check=False).stdout.strip() == "inactive"
    tokens = [
        node.run("cat /etc/rancher/k3s/token; stat -c %a /etc/rancher/k3s/token").stdout.split() for node in nodes
    ]
    assert tokens[0] == tokens[1]
    assert tokens[0][1] == "600"
    assert tokens[0][0] not in done.stderr + done.stdout
    assert "feature-gates=InPlacePodVerticalScaling=true" in agent.run("cat /etc/rancher/k3s/config.yaml").stdout
    assert server.run("helm version").stdout.strip() == fakes.HELM
    assert not (agent.root / "usr/local/bin/helm").exists()
    again = charonctl(*call, timeout=400)
    assert (again.status, again.summary["changed"]) == (0, {})


def test_download_with_wrong_checksum_is_rejected(nodes: tuple[Node, Node], hosts: Path) -> None:
    server, _ = nodes
    before = server.run("sha256sum /usr/local/bin/k3s").stdout
    server.run("echo '# changed' >>/srv/releases/k3s/k3s")
    settings = ["-e", "charon_k3s_version=v1.99.0+k3s1", "-e", "charon_k3s_url=http://127.0.0.1:8000/k3s"]
    done = charonctl("--json", CLUSTER, "node4", "-i", hosts, "--tags", "k3s", *settings, timeout=400)
    assert done.status == 2
    assert "checksum" in done.stderr
    assert server.run("sha256sum /usr/local/bin/k3s").stdout == before
