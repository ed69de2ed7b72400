"""Static checks of the playbooks: lint, syntax, order of roles, secrets, scrape targets of Prometheus."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from calls import ANSIBLE, ROOT, clean_environment

BIN = Path(sys.executable).parent
PLAYBOOKS = sorted(ANSIBLE.glob("*.yaml"))
INVENTORY = ANSIBLE / "inventory/cluster.yaml"
# Matches tasks that generate, read or write a secret.
_SECRET = re.compile(
    r"lookup\('ansible.builtin.password'|k3s_agent_token|/rancher/k3s/token|(charon_kubeconfig|kubeconfig_path) }}'?$",
    re.MULTILINE,
)


def ansible(*arguments: str | Path, cwd: Path = ROOT, timeout: float = 110) -> subprocess.CompletedProcess[str]:
    program, *rest = map(str, arguments)
    environment = clean_environment(
        PATH=f"{BIN}:{os.environ['PATH']}", ANSIBLE_CONFIG=str(ANSIBLE / "ansible.cfg"), NO_COLOR="1"
    )
    return subprocess.run(
        [str(BIN / program), *rest],
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ansible_lint_passes_production_profile() -> None:
    # Offline, because collections are installed already.
    done = ansible("ansible-lint", "--offline", "--profile", "production", "--strict", "ansible", timeout=580)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"(\d+) failure\(s\), (\d+) warning\(s\) in (\d+) files", done.stdout + done.stderr)
    assert counts is not None
    assert (int(counts[1]), int(counts[2])) == (0, 0)
    assert int(counts[3]) >= 60


@pytest.mark.parametrize("playbook", PLAYBOOKS, ids=lambda path: path.name)
def test_syntax_is_valid(playbook: Path) -> None:
    done = ansible("ansible-playbook", "--syntax-check", "-i", INVENTORY, playbook)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_roles_of_masternode_are_in_order() -> None:
    done = ansible("ansible-playbook", "--list-tasks", "-i", "localhost,", ANSIBLE / "provision-masternode.yaml")
    assert done.returncode == 0, done.stderr
    order = dict.fromkeys(
        line.split("TAGS")[0].split(" : ")[0].strip() for line in done.stdout.splitlines() if "TAGS" in line
    )
    expected = [
        "preflight", "packages", "firewall", "nvidia_toolkit", "k3s_server", "kubeconfig", "images", "helm", "numaflow",
        "monitoring", "Install Prometheus and Grafana", "gpu_resources", "Install the DCGM exporter", "monitors",
        "summary",
    ]  # fmt: skip
    assert [step for step in order if step in expected] == expected


def test_cluster_opens_port_of_flannel() -> None:
    plays = yaml.safe_load((ANSIBLE / "provision-cluster.yaml").read_text())
    firewall = next(role for role in plays[0]["roles"] if role["role"] == "firewall")
    assert firewall["firewall_ports"] == "{{ charon_ports + charon_cluster_ports }}"
    settings = yaml.safe_load((ANSIBLE / "roles/charon/defaults/main.yml").read_text())
    assert settings["charon_ports"] == ["6443/tcp", "10250/tcp", "30080/tcp"]
    assert settings["charon_cluster_ports"] == ["8472/udp"]
    assert settings["charon_numaflow_version"] == "v1.4.6"


def tasks_of(path: Path):
    """Return the tasks of a file, including those in blocks."""
    pending = list(yaml.safe_load(path.read_text()) or [])
    while pending:
        task = pending.pop()
        pending += [*task.get("block", []), *task.get("always", []), *task.get("rescue", [])]
        yield task


def test_secrets_are_not_in_files_or_logs() -> None:
    text = "\n".join(path.read_text() for path in ANSIBLE.rglob("*") if path.is_file())
    assert not re.search(r"admin123|K10[0-9a-f]{10}", text)
    assert yaml.safe_load((ANSIBLE / "roles/charon/defaults/main.yml").read_text())["charon_grafana_password"] == ""
    logged = [
        f"{path.parent.parent.name}: {task['name']}"
        for path in sorted((ANSIBLE / "roles").glob("*/tasks/*.yml"))
        for task in tasks_of(path)
        if _SECRET.search(yaml.safe_dump({key: task[key] for key in task if key not in {"name", "when"}}))
        and any(key.endswith((".slurp", ".copy", ".command")) for key in task)
        and not task.get("no_log")
    ]
    assert logged == []


def test_k3s_is_called_by_absolute_path() -> None:
    # The path that sudo sets on Red Hat and its derivatives does not include /usr/local/bin.
    calls = [
        f"{path.relative_to(ANSIBLE)}: {task['name']}"
        for path in sorted((ANSIBLE / "roles").glob("*/tasks/*.yml"))
        for task in tasks_of(path)
        for command in [task.get("ansible.builtin.command") or ""]
        if (command if isinstance(command, str) else command.get("cmd", "")).startswith(("k3s ", "helm ", "kubectl "))
    ]
    assert calls == []
    settings = yaml.safe_load((ANSIBLE / "roles/charon/defaults/main.yml").read_text())
    assert settings["charon_kubectl"].startswith("/usr/local/bin/k3s kubectl ")


@pytest.mark.parametrize(("output", "changed"), [("node/n labeled", True), ("node/n not labeled", False)])
def test_labeled_node_is_unchanged(output: str, changed: bool) -> None:
    tasks = tasks_of(ANSIBLE / "roles/gpu_resources/tasks/main.yml")
    label = next(task for task in tasks if task.get("register") == "gpu_resources_labeled")
    pattern = re.search(r"search\('(.*)'\)$", label["changed_when"])
    assert pattern is not None
    assert bool(re.search(pattern[1], output)) is changed


def monitors() -> dict[str, dict]:
    """Return the documents of the role monitors, rendered by Ansible."""
    template = ANSIBLE / "roles/monitors/templates/monitors.yaml.j2"
    render = f"{{{{ lookup('ansible.builtin.template', '{template}') }}}}"
    done = ansible(
        "ansible", "localhost", "-m", "ansible.builtin.debug", "-a", f"msg={render}",
        "-e", "monitors_namespace=monitoring", "-e", "monitors_interval=5s", "-o",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    text = yaml.safe_load(done.stdout.partition("=>")[2])["msg"]
    return {document["metadata"]["name"]: document for document in yaml.safe_load_all(text)}


def test_monitors_cover_all_scrape_targets() -> None:
    documents = monitors()
    assert {document["spec"]["namespaceSelector"]["any"] for document in documents.values()} == {True}
    ports = {
        name: (document["spec"].get("endpoints") or document["spec"]["podMetricsEndpoints"])[0]
        for name, document in documents.items()
    }
    assert {name: port.get("targetPort") or port["port"] for name, port in ports.items()} == {
        "numaflow-vertices": 2469, "numaflow-daemons": 4327, "numaflow-controller": "metrics",
        "numaflow-jetstream": 7777, "dcgm-exporter": "metrics", "workload": "charon-metrics",
    }  # fmt: skip
    assert {name for name, port in ports.items() if port.get("scheme") == "https"} == {
        "numaflow-vertices",
        "numaflow-daemons",
    }
    assert documents["workload"]["kind"] == "PodMonitor"
    assert documents["workload"]["spec"]["selector"] == {"matchLabels": {"role": "workload"}}
    for document in documents.values():
        field = "endpoints" if document["kind"] == "ServiceMonitor" else "podMetricsEndpoints"
        assert field in document["spec"], "the operator ignores other fields"
