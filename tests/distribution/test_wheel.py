"""The wheel works in an empty environment outside a checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
MANIFEST = "workflows/aps/numaflow-aps-live.yaml"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*command, cwd, env=None):
    """Run a program and return its output; raise with the output if it fails."""
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """Return a folder with the sdist, and the wheel that was built from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(BIN / "hatchling", "build", "-t", "sdist", "-d", folder, cwd=ROOT)
    (sdist,) = folder.glob("*.tar.gz")
    unpacked = tmp_path_factory.mktemp("sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(unpacked, filter="data")
    (source,) = unpacked.iterdir()
    run(BIN / "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    return folder


@pytest.fixture(scope="session")
def installed(dist, tmp_path_factory):
    """Return the bin folder of a new environment with the wheel and its dependencies."""
    uv = BIN / "uv"
    venv = tmp_path_factory.mktemp("env") / "venv"
    (wheel,) = dist.glob("*.whl")
    run(uv, "venv", "--quiet", "--python", sys.executable, venv, cwd=venv.parent)
    run(
        *(uv, "pip", "install", "--quiet", "--python", venv / "bin" / "python"),
        *("--constraint", ROOT / "requirements" / "run.txt", wheel),
        cwd=venv.parent,
    )
    yield venv / "bin"
    shutil.rmtree(venv)


@pytest.fixture
def outside(tmp_path):
    """Return an empty working folder, and an environment with an empty home and without the checkout's programs."""
    home = tmp_path / "home"
    work = tmp_path / "work"
    home.mkdir()
    work.mkdir()
    kept = {name: value for name, value in os.environ.items() if name.startswith(("SSL_", "LANG", "LC_", "TMPDIR"))}
    return work, {**kept, "HOME": str(home), "PATH": "/usr/bin:/bin"}


def test_demo_runs_outside_a_checkout(installed, outside):
    work, env = outside
    out = run(installed / "charonctl", "demo", "--shape", "10x10", cwd=work, env=env)
    summary = json.loads((work / "out/demo/summary.json").read_text())
    assert (summary["reconstructed"], summary["lost"], summary["published"]) == (100, 0, 100), out
    assert (work / "out/demo/stitched.png").stat().st_size > 1000


def test_bundles_are_package_resources(installed, outside):
    work, env = outside
    listed = run(installed / "charonctl", "model", "list", cwd=work, env=env)
    names = {line.split("@")[0].split()[0] for line in listed.splitlines() if line.strip()}
    assert {"ptychonn2-sim", "ptychonn-sim", "ptychonn2-siemens"} <= names, listed


@pytest.mark.parametrize(
    "path",
    [MANIFEST, "workflows/aps/metrics.txt", "ansible/provision-masternode.yaml", "ansible/roles/helm/tasks/main.yml"],
)
def test_resources_are_in_the_wheel(installed, outside, path):
    work, env = outside
    code = f"import charon.resources as r; print(r.resolve({path!r}).resolve())"
    resource = Path(run(installed / "python", "-c", code, cwd=work, env=env).strip())
    assert resource.is_relative_to(installed.parent)
    assert resource.read_bytes() == (ROOT / path).read_bytes()


def test_vertices_start_from_the_wheel(installed, outside):
    work, env = outside
    assert "image-sink" in run(installed / "charon-vertex", "--help", cwd=work, env=env)
