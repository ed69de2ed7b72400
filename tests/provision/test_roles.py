"""The roles on booted nodes: ``charonctl provision`` sets a node up, and a second run changes nothing."""

from __future__ import annotations

import shutil
import stat
import subprocess
from typing import TYPE_CHECKING

import artifacts as fakes
import pytest
import yaml
from calls import ANSIBLE, charonctl, inventory
from node import DOWNLOADED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from node import Node

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

MASTER = ANSIBLE / "provision-masternode.yaml"
REMOVE = ANSIBLE / "deprovision-masternode.yaml"
FILES = "find /etc /usr/local /var/lib/rancher /var/lib/charon /home/trusted 2>/dev/null | grep -v '/\\.ansible' | sort"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(scope="module")
def node(boot: Callable[[str], Node]) -> Node:
    return boot("node1")


@pytest.fixture(scope="module")
def hosts(node: Node, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return inventory(tmp_path_factory.mktemp("inventory") / "hosts.yaml", node, charon_artifacts=str(artifacts))


@pytest.fixture(scope="module")
def bare(node: Node) -> str:
    """Return the node's files before provisioning, with those of the packages."""
    node.run(f"apt-get install --yes --no-install-recommends {DOWNLOADED}")
    files = node.run(FILES).stdout
    node.run("apt-get remove --yes conntrack socat")
    return files


@pytest.fixture(scope="module")
def first(bare: str, hosts: Path):
    """Provision everything outside the cluster for the first time."""
    return charonctl("--json", MASTER, "-i", hosts, "--tags", "node")


@pytest.fixture(scope="module")
def token(first, node: Node) -> str:
    """Return the token that the first run generated."""
    return (node.root / "etc/rancher/k3s/token").read_text().strip()


def test_first_run_sets_up_the_node(first, node: Node) -> None:
    assert first.status == 0, first.stderr
    assert node.run("systemctl is-active k3s; systemctl is-enabled k3s").stdout.split() == ["active", "enabled"]
    assert "(fake)" in node.run("kubectl --version").stdout
    assert node.run("helm version").stdout.strip() == fakes.HELM
    installed = node.run("dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' conntrack socat").stdout.split("\n")
    assert installed[:2] == ["conntrack ii ", "socat ii "]
    assert node.run("cat /var/lib/rancher/k3s/imported").stdout == "charon.tar\n"


def test_k3s_is_configured_for_the_pipeline(first, node: Node) -> None:
    config = yaml.safe_load((node.root / "etc/rancher/k3s/config.yaml").read_text())
    assert config["cluster-cidr"] == "10.42.0.0/16"
    assert config["service-cidr"] == "10.43.0.0/16"
    assert config["write-kubeconfig-mode"] == "0600"
    assert config["token-file"] == "/etc/rancher/k3s/token"
    assert "node1" in config["tls-san"]
    for program in ("kube-apiserver", "kubelet", "kube-scheduler", "kube-controller-manager"):
        assert config[f"{program}-arg"] == ["feature-gates=InPlacePodVerticalScaling=true"]


def test_only_owners_can_read_secrets(first, token: str, node: Node) -> None:
    secrets = ["etc/rancher/k3s/token", "etc/rancher/k3s/config.yaml", "etc/rancher/k3s/k3s.yaml"]
    assert [mode(node.root / path) for path in secrets] == [0o600, 0o600, 0o600]
    own = node.root / "home/trusted/.kube/config"
    assert mode(own) == 0o600
    assert mode(own.parent) == 0o700
    owner = int(node.run("id -u trusted").stdout)
    assert (own.stat().st_uid, own.parent.stat().st_uid) == (owner, owner)
    assert len(token) == 48
    assert token not in first.stderr + first.stdout
    assert "kubeconfig-secret" not in first.stderr + first.stdout
    logged = node.run("journalctl --no-pager; cat /var/log/auth.log 2>/dev/null", check=False).stdout
    assert token not in logged


def test_second_run_changes_nothing(first, hosts: Path, node: Node) -> None:
    started = node.run("systemctl show k3s -p ActiveEnterTimestampMonotonic").stdout
    again = charonctl("--json", MASTER, "-i", hosts, "--tags", "node")
    assert again.status == 0, again.stderr
    assert again.changed("node1") == []
    assert again.summary["hosts"]["node1"]["changed"] == 0
    assert node.run("systemctl show k3s -p ActiveEnterTimestampMonotonic").stdout == started


def test_new_version_keeps_other_kubeconfig(first, hosts: Path, node: Node, tmp_path: Path) -> None:
    version = "v1.33.6+k3s1"
    fakes.k3s(tmp_path / "k3s", version)
    own = node.root / "home/trusted/.kube/config"
    original = own.read_text()
    other = original.replace("https://127.0.0.1:6443", "https://beamline.example.org:6443")
    own.write_text(other)
    started = node.run("systemctl show k3s -p ActiveEnterTimestampMonotonic").stdout
    settings = ["-e", f"charon_artifacts={tmp_path}", "-e", f"charon_k3s_version={version}", "-e", "charon_images="]
    done = charonctl("--json", MASTER, "-i", hosts, "--tags", "k3s", *settings)
    assert done.status == 0, done.stderr
    assert "k3s_binary : Copy K3s to /usr/local/bin" in done.changed("node1")
    assert version in node.run("k3s --version").stdout
    assert node.run("systemctl show k3s -p ActiveEnterTimestampMonotonic").stdout != started
    assert own.read_text() == other
    assert any("was kept" in message for message in done.summary["messages"])
    own.write_text(original)


def test_program_with_wrong_checksum_is_rejected(first, hosts: Path, node: Node, tmp_path: Path) -> None:
    before = node.run("sha256sum /usr/local/bin/k3s").stdout
    fakes.k3s(tmp_path / "k3s", "v1.99.0+k3s1")
    with (tmp_path / "k3s/k3s").open("a") as program:
        program.write("# changed\n")
    settings = ["-e", f"charon_artifacts={tmp_path}", "-e", "charon_k3s_version=v1.99.0+k3s1"]
    done = charonctl("--json", MASTER, "-i", hosts, "--tags", "k3s", *settings)
    assert done.status == 2
    assert "fetch it again with fetch-artifacts.yaml" in done.stderr
    assert fakes.sha256(tmp_path / "k3s/k3s") in done.stderr
    assert node.run("sha256sum /usr/local/bin/k3s").stdout == before


def test_archive_with_wrong_checksum_is_rejected(first, hosts: Path, node: Node, tmp_path: Path) -> None:
    fakes.helm(tmp_path / "helm", "v3.99.0")
    sums = tmp_path / "helm/helm-v3.99.0-linux-amd64.tar.gz.sha256sum"
    sums.write_text(f"{'a' * 64}  {sums.stem}\n")
    settings = ["-e", f"charon_artifacts={tmp_path}", "-e", "charon_helm_version=v3.99.0"]
    done = charonctl("--json", MASTER, "-i", hosts, "--tags", "helm", *settings)
    assert done.status == 2
    assert "fetch it again with fetch-artifacts.yaml" in done.stderr
    assert node.run("helm version").stdout.strip() == fakes.HELM


@pytest.mark.parametrize("firewall", ["firewalld", "ufw"])
def test_active_firewall_is_configured(first, hosts: Path, node: Node, firewall: str) -> None:
    node.run("ufw --force enable" if firewall == "ufw" else "systemctl start firewalld")
    try:
        done = charonctl("--json", MASTER, "-i", hosts, "--tags", "firewall")
        assert done.status == 0, done.stderr
        assert done.changed("node1") == [
            f"firewall : Set the rules for pods and services ({firewall})",
            f"firewall : Set the rules for ports ({firewall})",
        ]
        if firewall == "ufw":
            rules = node.run("ufw status").stdout
            assert all(rule in rules for rule in ("10.42.0.0/16", "10.43.0.0/16", "6443/tcp", "10250/tcp", "30080/tcp"))
        else:
            node.run("firewall-cmd --reload")
            assert node.run("firewall-cmd --zone=trusted --list-sources").stdout.split() == [
                "10.42.0.0/16",
                "10.43.0.0/16",
            ]
            assert node.run("firewall-cmd --zone=public --list-ports").stdout.split() == [
                "6443/tcp",
                "10250/tcp",
                "30080/tcp",
            ]
        again = charonctl("--json", MASTER, "-i", hosts, "--tags", "firewall")
        assert (again.status, again.changed("node1")) == (0, [])
    finally:
        node.run("ufw --force reset" if firewall == "ufw" else "systemctl stop firewalld")


def test_gpu_installs_toolkit_and_restarts_k3s(first, hosts: Path, node: Node, artifacts: Path, tmp_path: Path) -> None:
    shutil.copytree(artifacts, tmp_path / "all")
    fakes.toolkit(tmp_path / "all/nvidia")
    node.run("mkdir -p /opt/driver/gpus/0000:01:00.0")
    settings = ["-e", "nvidia_toolkit_driver=/opt/driver/gpus", "-e", f"charon_artifacts={tmp_path / 'all'}"]
    call = ("--json", MASTER, "-i", hosts, "--tags", "nvidia", "--skip-tags", "cluster", *settings)
    started = node.run("systemctl show k3s -p ActiveEnterTimestampMonotonic").stdout
    done = charonctl(*call)
    assert done.status == 0, done.stderr
    assert "ii" in node.run("dpkg-query -W -f '${db:Status-Abbrev}' libnvidia-container-tools").stdout
    assert node.run("systemctl show k3s -p ActiveEnterTimestampMonotonic").stdout != started
    again = charonctl(*call)
    assert (again.status, again.changed("node1")) == (0, [])


@pytest.mark.parametrize("busy", [True, False])
def test_nothing_is_deleted_below_a_busy_mount(busy: bool, node: Node) -> None:
    shutil.copy(ANSIBLE / "roles/k3s_removal/files/release-mounts.sh", node.root / "root/release-mounts.sh")
    stub = "mkdir -p /root/bin && ln -sf /bin/false /root/bin/umount && PATH=/root/bin:$PATH" if busy else "true;"
    volume = "/var/lib/kubelet/pods/with\\ space"
    done = node.run(
        f"unshare --mount sh -c '"
        f"mount -t tmpfs none /var/lib && mkdir -p {volume} && mount -t tmpfs none {volume} && "
        f"{stub} sh /root/release-mounts.sh'",
        check=False,
    )
    assert done.returncode == int(busy), done.stderr
    assert ("still mounted" in done.stderr) is busy
    assert ("unmounted /var/lib/kubelet/pods/with space" in done.stdout) is not busy


def test_deprovisioning_restores_the_node(first, bare: str, hosts: Path, node: Node) -> None:
    done = charonctl("--json", REMOVE, "-i", hosts)
    assert done.status == 0, done.stderr
    assert node.run("systemctl is-active k3s", check=False).stdout.strip() == "inactive"
    remaining = set(node.run(FILES).stdout.split("\n")) - set(bare.split("\n"))
    # Files in which firewalls record rules, and folders that another cluster may use.
    allowed = (
        "/etc/ufw",
        "/etc/firewalld",
        "/home/trusted/.kube",
        "/var/lib/rancher",
        "/etc/rancher",
        "/etc/machine-id",
    )
    assert [path for path in sorted(remaining) if not path.startswith(allowed)] == []
    assert not (node.root / "etc/rancher/k3s").exists()
    assert not (node.root / "var/lib/rancher/k3s").exists()
    assert not (node.root / "home/trusted/.kube/config").exists()
    again = charonctl("--json", REMOVE, "-i", hosts)
    assert (again.status, again.changed("node1")) == (0, [])


def test_preflight_fails_before_changes(boot, artifacts: Path, tmp_path: Path) -> None:
    node = boot("node2")
    listener = "import socket,time; s=socket.create_server((chr(49)+'27.0.0.1',30080)); time.sleep(300)"
    program = subprocess.Popen(node.inside("python3", "-c", listener))
    hosts = inventory(tmp_path / "hosts.yaml", node, charon_artifacts=str(artifacts))
    try:
        done = charonctl("--json", MASTER, "-i", hosts)
        assert done.status == 2
        assert "port 30080/tcp is in use" in done.stderr
        assert done.changed("node2") == []
        done = charonctl("--json", MASTER, "-i", hosts, "-e", "charon_min_memory_mb=99999999")
        assert done.status == 2
        assert "of memory; the cluster with its monitoring needs 99999999 MB" in done.stderr
    finally:
        program.kill()
        program.wait()
    assert not (node.root / "usr/local/bin/k3s").exists()


def test_each_server_generates_its_own_token(token: str, boot, artifacts: Path, tmp_path: Path) -> None:
    node = boot("node6")
    hosts = inventory(tmp_path / "hosts.yaml", node, charon_artifacts=str(artifacts), charon_images="")
    done = charonctl("--json", MASTER, "-i", hosts, "--tags", "k3s")
    assert done.status == 0, done.stderr
    other = (node.root / "etc/rancher/k3s/token").read_text().strip()
    assert len(other) == len(token) == 48
    assert other != token
