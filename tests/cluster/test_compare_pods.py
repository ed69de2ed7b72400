"""The baseline in pods as an engine of `charonctl compare`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from charon.comparison.model import Cell, Condition
from charon.comparison.running import run_cell

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def _current_namespace(cluster, namespace, tmp_path, monkeypatch):
    """Select the test's namespace in the kubeconfig of this process."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig.read_text())
    kubeconfig.chmod(0o600)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    monkeypatch.setenv("PATH", str(Path(cluster.kubectl).parent), prepend=os.pathsep)
    command = [cluster.kubectl, "config", "set-context", "--current", f"--namespace={namespace}"]
    subprocess.run(command, check=True, capture_output=True)


def a_cell(**changes):
    values = {
        "part": "load",
        "engine": "baseline-pods",
        "rate_hz": 20.0,
        "shape": (512, 512),
        "model": "ptychonn2-sim",
        "replicas": 2,
        "duration_s": 5.0,
        "warm_up_s": 1.0,
    }
    return Cell(number=1, condition=Condition.model_validate(values | changes))


@pytest.mark.usefixtures("_current_namespace")
def test_cell_in_pods_has_an_exact_account(cluster, namespace, tmp_path):
    result, samples = run_cell(a_cell(), tmp_path / "cell", attempt=1)

    # Other tests on the machine may make the result invalid; the account is exact all the same.
    assert result.failure is None
    assert result.counts is not None
    assert samples is not None
    counts = result.counts
    assert counts.published == 120
    assert counts.published == counts.processed + counts.rejected + counts.missed + counts.lost
    assert (counts.unknown, counts.rejected) == (0, 0)
    assert counts.processed >= 115
    assert samples.unique_id.tolist() == list(range(1, 121))
    assert result.latency_ms["result"].count >= 90
    assert 0 < result.latency_ms["result"].p50 < 5000
    resources = {process.name: process for process in result.processes}
    assert resources.keys() == {"consumer.1", "consumer.2", "mirror"}
    for process in resources.values():
        assert process.cpu_s > 0
        assert process.rss_max_bytes > 20 << 20
    assert result.detector_cpu_s is not None
    assert result.detector_cpu_s > 0
    left = cluster.get("pod,service,deployment", "-n", namespace)["items"]
    assert left == [], "the objects of the cell are deleted"


@pytest.mark.usefixtures("_current_namespace")
def test_cell_keeps_objects_of_the_user(cluster, namespace, tmp_path):
    service = {"spec": {"ports": [{"port": 5075}]}, "metadata": {"name": "baseline-phase"}}
    cluster.apply({"apiVersion": "v1", "kind": "Service", **service}, namespace=namespace)
    result, samples = run_cell(a_cell(), tmp_path / "cell", attempt=1)
    assert samples is None
    assert result.failure is not None
    assert result.failure.startswith(f"service/baseline-phase exists in namespace {namespace}; delete the baseline")
    assert cluster.get("service", "baseline-phase", "-n", namespace)["metadata"]["name"] == "baseline-phase"
