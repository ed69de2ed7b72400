"""Container images for the tests of the cluster, on a machine without a container engine and without a registry.

The project's own build (images/build.sh) runs with buildah in a store of its own. The base that the Dockerfile begins
from is stood in for by the same Debian release with its Python, made with mmdebstrap. Everything is kept in the user's
cache and made anew when what it is made from has changed.
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

from image_store import BASE_IMAGE, buildah, cache, environment, forget, locked, make_base, make_room, run

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "docker.io/library/charon:latest"
PAUSE_IMAGE = "docker.io/charon-tests/pause:1"
# What the image is made from, as .dockerignore lists it.
SOURCES = ("Dockerfile", ".dockerignore", "images", "requirements", "src", "workflows", "pyproject.toml", "README.md")
_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout")


def missing_packages() -> list[str]:
    """Return the Debian packages without which no image can be built here."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in ("buildah", "mmdebstrap") if shutil.which(name, path=path) is None]


def image_archive() -> Path:
    """Return the project's image as an archive that ``ctr images import`` takes, after building it where it changed.

    Raises
    ------
    RuntimeError
        If a package is missing, this is not root, or the build fails; the text ends with the build's last lines.
    """
    _check_possible()
    archive = cache() / f"charon-{content_key(*SOURCES)}.tar"
    with locked():
        if not archive.exists():
            build_image()
            forget("charon-*.tar")
            part = archive.with_suffix(".part")
            part.unlink(missing_ok=True)
            buildah("push", "--quiet", IMAGE, f"docker-archive:{part}:{IMAGE}")
            part.rename(archive)
    return archive


def pause_archive() -> Path:
    """Return an image with one static program that sleeps, for the sandboxes of pods.

    Raises
    ------
    RuntimeError
        If Go is missing or the program does not compile.
    """
    if shutil.which("go") is None:
        raise RuntimeError("the image of pods' sandboxes needs Go: install the package golang-go")
    archive = cache() / f"pause-{content_key('tests/cluster/pause', 'tests/cluster/images.py')}.tar"
    with locked():
        if not archive.exists():
            forget("pause-*.tar")
            with tempfile.TemporaryDirectory() as folder:
                program = Path(folder) / "pause"
                _go = {"CGO_ENABLED": "0", "GO111MODULE": "off"}
                command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "main.go"]
                run(command, cwd=ROOT / "tests/cluster/pause", env=os.environ | _go)
                part = archive.with_suffix(".part")
                write_archive(part, program, PAUSE_IMAGE)
            part.rename(archive)
    return archive


def content_key(*paths: str) -> str:
    """Return a digest of files and folders of the project, by their names and contents."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted((ROOT / path).rglob("*")) if (ROOT / path).is_dir() else [ROOT / path]
        for file in files:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(ROOT)}\0{file.stat().st_mode:o}\0".encode())
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def build_image() -> None:
    """Build the project's image with the project's own script, from the stand-in of its base.

    Raises
    ------
    RuntimeError
        If it cannot be built.
    """
    make_room()
    make_base()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder) / "pip.conf"
        configuration.touch(mode=0o600)
        given = {"BUILDER": "buildah", "BASE": BASE_IMAGE, "VARIANT": "cpu", "IMAGE": "charon"}
        given["PIP_CONF"] = str(configuration)
        settings = pip_settings()
        if certificates := settings.pop("cert", None):
            given["CERTIFICATES"] = certificates
            settings["cert"] = "/run/secrets/certificates.pem"
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        configuration.write_text(f"[global]\n{lines}")
        run([str(ROOT / "images/build.sh")], env=environment() | given)


def pip_settings() -> dict[str, str]:
    """Return where this machine's pip gets packages, as far as a build needs it too."""
    shown = run([sys.executable, "-m", "pip", "config", "list"])
    settings: dict[str, str] = {}
    for line in shown.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        text = value.strip("'\"")
        if key in _PIP_KEYS or (key == "cert" and Path(text).is_file()):
            settings[key] = text
    return settings


def inspected() -> dict[str, Any]:
    """Return the configuration and history of the built image, in the form of the OCI."""
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["OCIv1"]


@contextlib.contextmanager
def mounted() -> Generator[Path]:
    """Mount the built image; writing below the folder would change a copy."""
    container = buildah("from", "--pull-never", IMAGE).strip()
    try:
        yield Path(buildah("mount", container).strip())
    finally:
        buildah("umount", container)
        buildah("rm", container)


def write_archive(archive: Path, program: Path, name: str) -> None:
    """Write an image with one program in it, its entry point."""
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


def _check_possible() -> None:
    missing = missing_packages()
    if missing:
        raise RuntimeError(f"images are built with the Debian packages {' and '.join(missing)}: install them")
    if os.geteuid() != 0:
        raise RuntimeError("images for the tests are built as root")
