"""Build the container images of the cluster tests, without a container engine and without a registry.

The project's build (images/build.sh) runs with buildah in a separate store. Its base image is the same Debian release
with its Python, created by mmdebstrap. Results are cached for the user, and rebuilt when their sources change.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_store import BASE_IMAGE, buildah, cache, environment, limit_store, locked, make_base, remove_old, run

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "docker.io/library/charon:latest"
PAUSE_IMAGE = "docker.io/charon-tests/pause:1"
# The sources of the image, as in .dockerignore.
SOURCES = (
    "Dockerfile",
    ".dockerignore",
    "images",
    "requirements",
    "src",
    "ansible",
    "workflows",
    "pyproject.toml",
    "README.md",
)
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def missing_packages() -> list[str]:
    """Return the missing Debian packages that building needs."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in ("buildah", "mmdebstrap") if shutil.which(name, path=path) is None]


def image_archive() -> Path:
    """Return the project's image as an archive for ``ctr images import``; it is built if its sources changed.

    Raises
    ------
    RuntimeError
        If a package is missing, the user is not root, or the build fails; the message ends with the build's output.
    """
    _check_requirements()
    archive = cache() / f"charon-{content_key(*SOURCES)}.tar"
    with locked():
        if not archive.exists():
            build_image()
            remove_old("charon-*.tar")
            partial = archive.with_suffix(".part")
            partial.unlink(missing_ok=True)
            buildah("push", "--quiet", IMAGE, f"docker-archive:{partial}:{IMAGE}")
            partial.rename(archive)
    return archive


def pause_archive() -> Path:
    """Return the archive of the image for the sandboxes of pods: one static program that sleeps.

    Raises
    ------
    RuntimeError
        If Go is missing or the program does not compile.
    """
    if shutil.which("go") is None:
        raise RuntimeError("building the pause image needs Go: install the package golang-go")
    archive = cache() / f"pause-{content_key('tests/cluster/pause', 'tests/cluster/images.py')}.tar"
    with locked():
        if not archive.exists():
            remove_old("pause-*.tar")
            with tempfile.TemporaryDirectory() as folder:
                program = Path(folder) / "pause"
                settings = {"CGO_ENABLED": "0", "GO111MODULE": "off"}
                command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "main.go"]
                run(command, cwd=ROOT / "tests/cluster/pause", env=os.environ | settings)
                partial = archive.with_suffix(".part")
                write_archive(partial, program, PAUSE_IMAGE)
            partial.rename(archive)
    return archive


def content_key(*paths: str) -> str:
    """Return a digest of the names and contents of files and folders of the project."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted((ROOT / path).rglob("*")) if (ROOT / path).is_dir() else [ROOT / path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode:o}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def build_image() -> None:
    """Build the project's image with images/build.sh, from the substitute of its base image.

    Raises
    ------
    RuntimeError
        If the build fails.
    """
    limit_store()
    make_base()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "pip.conf"
        configuration.touch(mode=0o600)
        variables = {"BUILDER": "buildah", "BASE": BASE_IMAGE, "VARIANT": "cpu", "IMAGE": "charon"}
        variables["PIP_CONF"] = str(configuration)
        settings = pip_settings()
        if certificates := settings.pop("cert", None):
            variables["CERTIFICATES"] = certificates
            settings["cert"] = "/run/secrets/certificates.pem"
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        configuration.write_text(f"[global]\n{lines}")
        run([str(ROOT / "images/build.sh")], env=environment() | variables)


def pip_settings() -> dict[str, str]:
    """Return the settings of this machine's pip that a build needs: indexes, proxy, certificates."""
    output = run([sys.executable, "-m", "pip", "config", "list"])
    settings: dict[str, str] = {}
    for line in output.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        text = value.strip("'\"")
        if key in _PIP_KEYS or (key == "cert" and Path(text).is_file()):
            settings[key] = text
    return settings


def inspect_image() -> dict[str, Any]:
    """Return the configuration and history of the built image, in OCI format."""
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]


@contextlib.contextmanager
def mount_image() -> Generator[Path]:
    """Mount the built image; a write changes only the mounted copy."""
    container = buildah("from", "--pull-never", IMAGE).strip()
    try:
        yield Path(buildah("mount", container).strip())
    finally:
        buildah("umount", container)
        buildah("rm", container)


def write_archive(archive: Path, program: Path, name: str) -> None:
    """Write an image whose only file is a program, its entry point."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        entry = tar.gettarinfo(program, program.name)
        entry.mode, entry.uid, entry.gid, entry.uname, entry.gname, entry.mtime = 0o755, 0, 0, "", "", 0
        with program.open("rb") as file:
            tar.addfile(entry, file)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    configuration = {
        "architecture": _go_architecture(),
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535", "Env": ["PATH=/"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for member, content in (
            ("layer.tar", layer.getvalue()),
            ("config.json", json.dumps(configuration).encode()),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            header = tarfile.TarInfo(member)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))


def _go_architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)


def _check_requirements() -> None:
    missing = missing_packages()
    if missing:
        raise RuntimeError(f"building images needs the Debian packages {' and '.join(missing)}: install them")
    if os.geteuid() != 0:
        raise RuntimeError("building the images of the tests needs root")
