"""The cluster that these tests run on: one that `CHARON_TEST_KUBECONFIG` names, or one of their own."""

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
from onenode.cluster import Cluster, started

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items):
    """Mark every test here: none of them runs without a cluster's parts."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def figures():
    """Give a table for what tests measure by the way; it is written to out/cluster.json."""
    measured = {}
    yield measured
    if measured:
        (ROOT / "out").mkdir(exist_ok=True)
        (ROOT / "out/cluster.json").write_text(json.dumps(measured, indent=2, sort_keys=True) + "\n")


@pytest.fixture(scope="session")
def cluster(figures):
    """Give a Kubernetes whose node has Charon's image."""
    named = os.environ.get("CHARON_TEST_KUBECONFIG")
    if named:
        kubectl = shutil.which("kubectl")
        assert kubectl is not None, "CHARON_TEST_KUBECONFIG is set, and no kubectl is on the PATH"
        yield Cluster(Path(named), kubectl)
        return
    if os.geteuid() != 0:
        pytest.skip("a cluster of the tests' own needs root; or set CHARON_TEST_KUBECONFIG")
    if not Path("/sys/fs/cgroup/memory").is_dir():
        pytest.skip("a cluster of the tests' own needs control groups of version 1; or set CHARON_TEST_KUBECONFIG")
    missing = parts.missing_packages()
    if missing:
        pytest.skip(f"a cluster of the tests' own needs the packages {', '.join(missing)}")
    import images

    try:
        archives = [images.pause_archive(), images.image_archive()]
    except RuntimeError as error:
        pytest.skip(str(error))
    began = time.monotonic()
    with started(archives) as running:
        figures["node ready, with images imported, s"] = round(time.monotonic() - began, 1)
        yield running


@pytest.fixture
def namespace(cluster, request):
    """Give a namespace of the test's own, and take it away with all that is in it."""
    test = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:40].strip("-")
    name = f"t-{test}-{secrets.token_hex(3)}"
    cluster.ask("create", "namespace", name)
    yield name
    cluster.run("delete", "namespace", name, "--wait=false", "--grace-period=0", "--force")
