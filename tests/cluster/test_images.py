"""The container image: its size and metadata, and its programs, run as Kubernetes runs them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import image_store
import images
import pytest
import yaml
from containers import USER, Containers

ROOT = Path(__file__).resolve().parents[2]
IN_POD = Path(__file__).resolve().parent / "in_pod"
MAX_SIZE_BYTES = 600e6
# Registries and owners with public images.
PUBLIC = ("docker.io/library", "docker.io/nvidia", "docker.io/natsio", "quay.io/numaproj", "registry.k8s.io")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def archive():
    """Return the archive of the image, built or from the cache."""
    if shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("running the image needs runc: install the package runc")
    try:
        return images.image_archive()
    except RuntimeError as error:
        if images.missing_packages() or os.geteuid() != 0:
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def metadata(archive):
    """Return the configuration and history of the image."""
    return images.inspect_image()


@pytest.fixture(scope="session")
def root(archive):
    """Mount the image."""
    with images.mount_image() as folder:
        yield folder


@pytest.fixture
def containers(root, metadata, tmp_path):
    """Yield an object that starts containers, and delete them afterwards."""
    started = Containers(root, metadata, tmp_path)
    yield started
    started.clean_up()


# Contents


def test_image_size_is_within_limits(root):
    size = sum(
        path.lstat().st_size
        for folder, _, files in os.walk(root)
        for path in (Path(folder, file) for file in files)
        if not path.is_symlink()
    )
    assert 300e6 < size <= MAX_SIZE_BYTES, f"{size / 1e6:.0f} MB"


def test_user_is_numeric_and_not_root(metadata):
    assert metadata["config"]["User"] == f"{USER}:{USER}"


def test_entry_point_is_charon_vertex(metadata, root):
    assert metadata["config"]["Entrypoint"] == ["charon-vertex"]
    assert os.access(root / "opt/charon/bin/charon-vertex", os.X_OK)


def test_labels_contain_version_and_revision(metadata):
    labels = metadata["config"]["Labels"]
    version = re.search(r'"(.+)"', (ROOT / "src/charon/__init__.py").read_text().rpartition("__version__")[2])
    assert version is not None
    assert labels["org.opencontainers.image.title"] == "Charon"
    assert labels["org.opencontainers.image.version"] == version[1]
    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.source"]


def test_image_contains_no_build_secrets(metadata, root):
    settings = images.pip_settings()
    proxies = [value for name, value in os.environ.items() if name.lower().endswith("_proxy") and value]
    text = json.dumps(metadata)
    for secret in [*settings.values(), *proxies]:
        if len(secret) > 4:
            assert secret not in text
    assert not re.search(r"index-url|PIP_|_PROXY|_proxy|https?://[^ \"]*@", text)
    for path in ("etc/pip.conf", "run/secrets/certificates.pem", "tools", "build", "root/.cache", "root/.config"):
        assert not (root / path).exists()
    pip_files = [str(path) for path in (root / "opt/charon").rglob("pip.conf")]
    assert pip_files == []


def image_names():
    """Yield the file and name of every image in a manifest or the build."""
    for path in sorted((ROOT / "workflows").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield from ((path.name, name) for name in images_in(document))
    for path in (ROOT / "Dockerfile", ROOT / "images/build.sh"):
        for name in re.findall(r"\b(?:FROM |BASE=|base=)([\w./:-]+)", path.read_text()):
            yield path.name, name


def images_in(node):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from images_in(value)
    elif isinstance(node, list):
        for value in node:
            yield from images_in(value)


def test_all_images_are_public():
    names = list(image_names())
    assert ("Dockerfile", "docker.io/library/python:3.11-slim-bookworm") in names
    assert any(file == "numaflow-aps.yaml" for file, _ in names)
    stages = {"base", "installed", "packages", "project"}
    own = re.compile(r"charon(:[\w.-]+)?")
    private = [
        (file, name)
        for file, name in names
        if not (own.fullmatch(name) or name in stages or name.startswith(tuple(f"{owner}/" for owner in PUBLIC)))
    ]
    assert private == []


# Programs


def test_programs_run_on_a_read_only_root(containers):
    vertex = containers.run("--help")
    assert vertex.returncode == 0, vertex.stderr
    for role in ("source", "inference", "image-sink", "log-sink"):
        assert role in vertex.stdout
    shown = containers.run("help", entrypoint="charonctl")
    assert shown.returncode == 0, shown.stderr
    assert "run" in shown.stdout
    for tool in ("pvapy-ad-sim-server", "pvapy-mirror-server", "pvapy-hpc-consumer", "pvapy-hpc-collector"):
        usage = containers.run("--help", entrypoint=tool)
        assert usage.returncode == 0, f"{tool}: {usage.stderr}"
        assert "usage" in usage.stdout.lower()


def test_only_tmp_and_data_are_writable(containers):
    done = containers.run("-c", (IN_POD / "writing.py").read_text(), entrypoint="python")
    assert done.returncode == 0, done.stderr
    assert (containers.data / "x").read_text() == "x"


def test_every_module_can_be_imported(containers):
    done = containers.run("-c", (IN_POD / "imports.py").read_text(), entrypoint="python")
    assert done.returncode == 0, done.stderr[-3000:]


def test_demo_reconstructs_a_scan(containers):
    shown = containers.run(
        *("demo", "--output", "/data/demo", "--shape", "14x14", "--frame-rate", "40"),
        entrypoint="charonctl",
        timeout=300,
    )
    assert shown.returncode == 0, shown.stdout + shown.stderr
    account = json.loads((containers.data / "demo/summary.json").read_text())
    assert account["adds_up"]
    assert account["published"] == 14 * 14
    assert account["reconstructed"] == 14 * 14
    assert account["lost"] == account["missed"] == 0
    assert (containers.data / "demo/stitched.png").stat().st_size > 1000
    assert (containers.data / "demo").stat().st_uid == USER


def test_sigterm_drains_a_run(containers):
    manifest = "workflows/aps/numaflow-aps-live.yaml"
    name, process = containers.start(
        "run", manifest, "--local", "--output", "/data/run", "--quiet", entrypoint="charonctl"
    )
    try:
        await_condition(lambda: ready(containers.data / "run"), process, 120)
        start = time.monotonic()
        containers.kill(name, "TERM")
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                containers.kill(name, "KILL")
            process.communicate()
    assert process.returncode == 0, out + err
    assert time.monotonic() - start < 30
    assert (containers.data / "run/summary.json").exists()


def test_simulator_of_pvapy_publishes_frames(containers):
    ran = containers.run(
        *("-cn", "ad:image", "-nx", "64", "-ny", "64", "-dt", "int16", "-fps", "20", "-rt", "3", "-dc"),
        entrypoint="pvapy-ad-sim-server",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    published = re.search(r"Published frames: +(\d+)", ran.stdout)
    assert published is not None, ran.stdout
    assert 50 <= int(published[1]) <= 70


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run a program of the host in the project's folder."""
    return subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


def ready(folder: Path) -> bool:
    """Return whether the last vertex of a run has started: its patch log has a header."""
    return any(log.stat().st_size for log in folder.glob("log/*/00000000.log"))


def await_condition(condition, process: subprocess.Popen, timeout_s: float) -> None:
    """Wait until a condition is true; fail if the process exits first."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"the process exited with status {process.returncode}: {out[-2000:]} {err[-2000:]}")
        if time.monotonic() > deadline:
            pytest.fail(f"timed out after {timeout_s:.0f} s")
        time.sleep(0.1)


# Build and import


def test_archive_has_image_name_of_manifests(archive):
    shown = subprocess.run(["tar", "xOf", str(archive), "manifest.json"], capture_output=True, check=True)
    assert json.loads(shown.stdout)[0]["RepoTags"] == [images.IMAGE]


@pytest.fixture
def containerd(tmp_path):
    """Start a containerd for the test, and yield the command of its client."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if shutil.which("containerd", path=path) is None:
        pytest.skip("importing needs containerd: install the package containerd")
    # A short folder, because the length of a socket's path is limited.
    with tempfile.TemporaryDirectory(prefix="cd-") as short:
        socket = f"{short}/s"
        configuration = tmp_path / "containerd.toml"
        lines = [f'version = 2\nroot = "{tmp_path}/root"\nstate = "{short}/state"', f'[grpc]\naddress = "{socket}"']
        plugins = ["grpc.v1.cri", *(f"snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs"))]
        lines.insert(1, f"disabled_plugins = {json.dumps([f'io.containerd.{name}' for name in plugins])}")
        configuration.write_text("\n".join(lines))
        with (tmp_path / "containerd.log").open("w") as log:
            process = subprocess.Popen(["containerd", "--config", str(configuration)], stdout=log, stderr=log)
        try:
            await_condition(lambda: Path(socket).exists(), process, 30)
            yield ["ctr", "--address", socket]
        finally:
            process.terminate()
            process.wait(30)


def test_make_images_import_imports_into_containerd(archive, containerd):
    variables = {"CTR": " ".join(containerd), "BUILDER": "buildah", "IMAGE": "charon", "VARIANT": "cpu"}
    ran = run("make", "--no-print-directory", "images-import", env=image_store.environment() | variables)
    assert ran.returncode == 0, ran.stderr
    shown = run(*containerd, "--namespace", "k8s.io", "images", "ls", "--quiet")
    repository = images.IMAGE.partition(":")[0]
    names = {name for name in shown.stdout.split() if name.startswith(repository)}
    assert images.IMAGE in names
    assert len(names) == 2, names
    imported = run(*containerd, "--namespace", "other", "images", "import", str(images.pause_archive()))
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize(
    ("variables", "status", "message"),
    [
        ({"VARIANT": "tpu"}, 2, "VARIANT=tpu"),
        ({"BUILDER": "kaniko"}, 2, "BUILDER=kaniko"),
        ({"PATH": "only"}, 1, "neither docker (with a running daemon) nor buildah is installed"),
    ],
)
@pytest.mark.parametrize("target", ["images", "images-import"])
def test_impossible_build_is_a_one_line_error(tmp_path, target, variables, status, message):
    script = ROOT / "images" / {"images": "build.sh", "images-import": "import.sh"}[target]
    for name in ("bash", "dirname", "sed", "git"):
        program = shutil.which(name)
        assert program is not None
        (tmp_path / name).symlink_to(program)
    variables = variables | ({"PATH": str(tmp_path)} if "PATH" in variables else {})
    ignored = {"VARIANT", "BUILDER", "IMAGE", "CTR"}
    inherited = {name: value for name, value in os.environ.items() if name not in ignored}
    ran = run(str(script), env=inherited | variables)
    assert ran.returncode == status
    assert ran.stderr.startswith("error: ")
    assert len(ran.stderr.splitlines()) == 1
    assert message in ran.stderr


def test_pause_image_runs_until_sigterm(tmp_path):
    try:
        archive = images.pause_archive()
    except RuntimeError as error:
        pytest.skip(str(error))
    subprocess.run(["tar", "xf", str(archive), "-C", str(tmp_path)], check=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())[0]
    assert manifest["RepoTags"] == [images.PAUSE_IMAGE]
    subprocess.run(["tar", "xf", str(tmp_path / manifest["Layers"][0]), "-C", str(tmp_path)], check=True)
    process = subprocess.Popen(["chroot", str(tmp_path), "/pause"])
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_small_store_is_not_emptied(monkeypatch):
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(image_store, "buildah", lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(image_store, "_used", lambda _folder: 1)
    image_store.limit_store()
    assert calls == []
