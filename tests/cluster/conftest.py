"""Fixtures of the cluster tests: the cluster of `CHARON_TEST_KUBECONFIG`, or else a test cluster."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "system/shell"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from onenode import parts
from onenode.cluster import Cluster, run_cluster

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items):
    """Mark every test of this folder with `cluster`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def figures():
    """Yield a table for measurements, which is written to out/cluster.json."""
    measured = {}
    yield measured
    if measured:
        (ROOT / "out").mkdir(exist_ok=True)
        (ROOT / "out/cluster.json").write_text(json.dumps(measured, indent=2, sort_keys=True) + "\n")


@pytest.fixture(scope="session")
def cluster(figures):
    """Yield a Kubernetes cluster whose node has Charon's image."""
    kubeconfig = os.environ.get("CHARON_TEST_KUBECONFIG")
    if kubeconfig:
        kubectl = shutil.which("kubectl")
        assert kubectl is not None, "CHARON_TEST_KUBECONFIG is set, but no kubectl is on the PATH"
        yield Cluster(Path(kubeconfig), kubectl)
        return
    if os.geteuid() != 0:
        pytest.skip("the test cluster needs root; or set CHARON_TEST_KUBECONFIG")
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("the test cluster needs cgroups v1; or set CHARON_TEST_KUBECONFIG")
    missing = parts.missing_packages()
    if missing:
        pytest.skip(f"the test cluster needs the packages {', '.join(missing)}")
    import images

    try:
        archives = [images.pause_archive(), images.image_archive()]
    except RuntimeError as error:
        pytest.skip(str(error))
    start = time.monotonic()
    with run_cluster(archives) as running:
        figures["node ready, with images imported, s"] = round(time.monotonic() - start, 1)
        yield running


@pytest.fixture
def namespace(cluster, request):
    """Create a namespace for the test, and delete it afterwards."""
    test = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:40].strip("-")
    name = f"t-{test}-{secrets.token_hex(3)}"
    cluster.call("create", "namespace", name)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false", "--grace-period=0", "--force")
