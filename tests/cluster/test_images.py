"""The container image: its size, what it says of itself, and that its programs run as Kubernetes will run them."""

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
INSIDE = Path(__file__).resolve().parent / "inside"
SIZE_LIMIT_BYTES = 600e6
# Hosts and owners whose images anybody can pull.
PUBLIC = ("docker.io/library", "docker.io/nvidia", "docker.io/natsio", "quay.io/numaproj", "registry.k8s.io")
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def archive():
    """Build the image, or take it from the cache."""
    if shutil.which("runc", path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
        pytest.skip("the image's programs run with runc: install the package runc")
    try:
        return images.image_archive()
    except RuntimeError as error:
        if images.missing_packages() or os.geteuid() != 0:
            pytest.skip(str(error))
        raise


@pytest.fixture(scope="session")
def said(archive):
    """Give what the image says of itself."""
    return images.inspected()


@pytest.fixture(scope="session")
def root(archive):
    """Mount the image."""
    with images.mounted() as folder:
        yield folder


@pytest.fixture
def containers(root, said, tmp_path):
    """Give containers, and leave none behind."""
    made = Containers(root, said, tmp_path)
    yield made
    made.end()


# What it is


def test_the_image_is_small(root):
    size = sum(
        path.lstat().st_size
        for folder, _, files in os.walk(root)
        for path in (Path(folder, file) for file in files)
        if not path.is_symlink()
    )
    assert 300e6 < size <= SIZE_LIMIT_BYTES, f"{size / 1e6:.0f} MB"


def test_the_user_is_a_number_other_than_root(said):
    assert said["config"]["User"] == f"{USER}:{USER}"


def test_the_entry_point_is_a_program_and_no_shell(said, root):
    assert said["config"]["Entrypoint"] == ["charon-vertex"]
    assert os.access(root / "opt/charon/bin/charon-vertex", os.X_OK)


def test_the_labels_name_version_revision_and_licence(said):
    labels = said["config"]["Labels"]
    version = re.search(r'"(.+)"', (ROOT / "src/charon/__init__.py").read_text().rpartition("__version__")[2])
    assert version is not None
    assert labels["org.opencontainers.image.title"] == "Charon"
    assert labels["org.opencontainers.image.version"] == version[1]
    assert labels["org.opencontainers.image.licenses"] == "BSD-3-Clause"
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])
    assert labels["org.opencontainers.image.source"]


def test_nothing_of_the_builder_is_left(said, root):
    settings = images.pip_settings()
    proxies = [value for name, value in os.environ.items() if name.lower().endswith("_proxy") and value]
    told = json.dumps(said)
    for secret in [*settings.values(), *proxies]:
        if len(secret) > 4:
            assert secret not in told
    assert not re.search(r"index-url|PIP_|_PROXY|_proxy|https?://[^ \"]*@", told)
    for path in ("etc/pip.conf", "run/secrets/certificates.pem", "tools", "build", "root/.cache", "root/.config"):
        assert not (root / path).exists()
    left = [str(path) for path in (root / "opt/charon").rglob("pip.conf")]
    assert left == []


def image_names():
    """Find every image that a manifest or the build names."""
    for path in sorted((ROOT / "workflows").rglob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text()):
            yield from ((path.name, name) for name in named_in(document))
    for path in (ROOT / "Dockerfile", ROOT / "images/build.sh"):
        for name in re.findall(r"\b(?:FROM |BASE=|base=)([\w./:-]+)", path.read_text()):
            yield path.name, name


def named_in(part):
    if isinstance(part, dict):
        for key, value in part.items():
            if key == "image" and isinstance(value, str):
                yield value
            else:
                yield from named_in(value)
    elif isinstance(part, list):
        for value in part:
            yield from named_in(value)


def test_manifests_and_build_name_no_private_registry():
    names = list(image_names())
    assert ("Dockerfile", "docker.io/library/python:3.11-slim-bookworm") in names
    assert any(file == "numaflow-aps.yaml" for file, _ in names)
    stages = {"base", "installed", "packages", "project"}
    ours = re.compile(r"charon(:[\w.-]+)?")
    foreign = [
        (file, name)
        for file, name in names
        if not (ours.fullmatch(name) or name in stages or name.startswith(tuple(f"{owner}/" for owner in PUBLIC)))
    ]
    assert foreign == []


# What it does


def test_its_programs_answer_on_a_read_only_root(containers):
    vertex = containers.run("--help")
    assert vertex.returncode == 0, vertex.stderr
    for role in ("source", "inference", "image-sink", "log-sink"):
        assert role in vertex.stdout
    shown = containers.run("help", entrypoint="charonctl")
    assert shown.returncode == 0, shown.stderr
    assert "run" in shown.stdout
    for tool in ("pvapy-ad-sim-server", "pvapy-mirror-server", "pvapy-hpc-consumer", "pvapy-hpc-collector"):
        told = containers.run("--help", entrypoint=tool)
        assert told.returncode == 0, f"{tool}: {told.stderr}"
        assert "usage" in told.stdout.lower()


def test_the_root_is_read_only_and_the_user_has_no_rights(containers):
    tried = containers.run("-c", (INSIDE / "writing.py").read_text(), entrypoint="python")
    assert tried.returncode == 0, tried.stderr
    assert (containers.data / "x").read_text() == "x"


def test_everything_that_was_left_in_can_be_imported(containers):
    tried = containers.run("-c", (INSIDE / "imports.py").read_text(), entrypoint="python")
    assert tried.returncode == 0, tried.stderr[-3000:]


def test_a_scan_is_reconstructed_inside(containers):
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


def test_a_term_signal_reaches_the_process_and_is_obeyed(containers):
    manifest = "workflows/aps/numaflow-aps-live.yaml"
    name, process = containers.start(
        "run", manifest, "--local", "--output", "/data/run", "--quiet", entrypoint="charonctl"
    )
    try:
        await_condition(lambda: ready(containers.data / "run"), process, 120)
        began = time.monotonic()
        containers.kill(name, "TERM")
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            with contextlib.suppress(subprocess.CalledProcessError):
                containers.kill(name, "KILL")
            process.communicate()
    assert process.returncode == 0, out + err
    assert time.monotonic() - began < 30
    assert (containers.data / "run/summary.json").exists()


def test_the_simulator_of_pvapy_publishes(containers):
    ran = containers.run(
        *("-cn", "ad:image", "-nx", "64", "-ny", "64", "-dt", "int16", "-fps", "20", "-rt", "3", "-dc"),
        entrypoint="pvapy-ad-sim-server",
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    published = re.search(r"Published frames: +(\d+)", ran.stdout)
    assert published is not None, ran.stdout
    assert 50 <= int(published[1]) <= 70


def run(*command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
    """Run a program of this machine in the project's folder."""
    return subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)


def ready(folder: Path) -> bool:
    """Return whether the last vertex of a run has begun: its patch log has its head."""
    return any(log.stat().st_size for log in folder.glob("log/*/00000000.log"))


def await_condition(condition, process: subprocess.Popen, timeout_s: float) -> None:
    """Wait until something holds; fail when the process ends before it."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if process.poll() is not None:
            out, err = process.communicate()
            pytest.fail(f"it ended with {process.returncode}: {out[-2000:]} {err[-2000:]}")
        if time.monotonic() > deadline:
            pytest.fail("it did not begin in time")
        time.sleep(0.1)


# What the tests build it with


def test_the_archive_holds_the_image_under_the_name_of_the_manifests(archive):
    shown = subprocess.run(["tar", "xOf", str(archive), "manifest.json"], capture_output=True, check=True)
    assert json.loads(shown.stdout)[0]["RepoTags"] == [images.IMAGE]


@pytest.fixture
def containerd(tmp_path):
    """Start a containerd of the test's own; give the command that speaks to it."""
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    if shutil.which("containerd", path=path) is None:
        pytest.skip("importing needs containerd: install the package containerd")
    # Paths of sockets are bounded.
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


def test_make_images_import_hands_the_image_to_containerd(archive, containerd):
    given = {"CTR": " ".join(containerd), "BUILDER": "buildah", "IMAGE": "charon", "VARIANT": "cpu"}
    ran = run("make", "--no-print-directory", "images-import", env=image_store.environment() | given)
    assert ran.returncode == 0, ran.stderr
    shown = run(*containerd, "--namespace", "k8s.io", "images", "ls", "--quiet")
    repository = images.IMAGE.partition(":")[0]
    names = {name for name in shown.stdout.split() if name.startswith(repository)}
    assert images.IMAGE in names
    assert len(names) == 2, names
    imported = run(*containerd, "--namespace", "other", "images", "import", str(images.pause_archive()))
    assert imported.returncode == 0, imported.stderr


@pytest.mark.parametrize(
    ("given", "status", "words"),
    [
        ({"VARIANT": "tpu"}, 2, "VARIANT=tpu"),
        ({"BUILDER": "kaniko"}, 2, "BUILDER=kaniko"),
        ({"PATH": "only"}, 1, "neither docker (with its daemon running) nor buildah is here"),
    ],
)
@pytest.mark.parametrize("target", ["images", "images-import"])
def test_a_build_that_cannot_be_says_so_in_one_line(tmp_path, target, given, status, words):
    script = ROOT / "images" / {"images": "build.sh", "images-import": "import.sh"}[target]
    for name in ("bash", "dirname", "sed", "git"):
        program = shutil.which(name)
        assert program is not None
        (tmp_path / name).symlink_to(program)
    given = given | ({"PATH": str(tmp_path)} if "PATH" in given else {})
    kept = {name: value for name, value in os.environ.items() if name not in {"VARIANT", "BUILDER", "IMAGE", "CTR"}}
    ran = run(str(script), env=kept | given)
    assert ran.returncode == status
    assert ran.stderr.startswith("error: ")
    assert len(ran.stderr.splitlines()) == 1
    assert words in ran.stderr


def test_the_pause_image_is_one_static_program_that_ends_when_told(tmp_path):
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


def test_a_store_in_use_is_not_emptied(monkeypatch):
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(image_store, "buildah", lambda *arguments: asked.append(arguments))
    monkeypatch.setattr(image_store, "_used", lambda _folder: 1)
    image_store.make_room()
    assert asked == []
