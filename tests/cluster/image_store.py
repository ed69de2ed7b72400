"""Manage the buildah store of the tests' images, in the user's cache, and its base image."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

BASE_IMAGE = "docker.io/library/python:3.11-slim-bookworm"
# The store is emptied when the layers of earlier builds exceed this size.
_MAX_STORE_BYTES = 15e9

_MMDEBSTRAP = (
    "mmdebstrap",
    *("--variant=minbase", "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", "--format=tar"),
    "--include=python3.11,python3.11-venv,ca-certificates,usr-is-merged",
    '--aptopt=APT::Install-Recommends "false"',
    *(f"--dpkgopt=path-exclude=/usr/share/{path}" for path in ("man/*", "locale/*/LC_MESSAGES/*.mo", "doc/*")),
    "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    # Python is called so in the official image.
    '--customize-hook=ln -s /usr/bin/python3.11 "$1/usr/local/bin/python3"',
    '--customize-hook=ln -s /usr/bin/python3.11 "$1/usr/local/bin/python"',
    "bookworm",
)
_BASE_PATH = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"


def cache() -> Path:
    """Return the folder of cached images."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = base / "charon" / "cluster" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def make_base() -> None:
    """Build a substitute for the Dockerfile's base image, unless the store has it."""
    key = hashlib.sha256("\0".join(_MMDEBSTRAP).encode()).hexdigest()[:16]
    name = f"localhost/charon-tests/base:{key}"
    present = buildah("images", "--format", "{{.Name}}:{{.Tag}}").split()
    if name in present and BASE_IMAGE in present:
        return
    tree = cache() / f"base-{key}.tar"
    if not tree.exists():
        remove_old("base-*.tar")
        partial = tree.with_suffix(".part")
        run([*_MMDEBSTRAP, str(partial)])
        partial.rename(tree)
    container = buildah("from", "scratch").strip()
    buildah("add", "--quiet", container, str(tree), "/")
    buildah("config", "--env", _BASE_PATH, "--cmd", "python3", container)
    buildah("commit", "--quiet", "--rm", container, name)
    buildah("tag", name, BASE_IMAGE)


def environment() -> dict[str, str]:
    """Return the environment that makes buildah use the store of the tests."""
    store = cache() / "store"
    store.mkdir(exist_ok=True)
    configuration = store / "storage.conf"
    if not configuration.exists():
        driver = "overlay" if _overlay_works(store) else "vfs"
        lines = ["[storage]", f'driver = "{driver}"', f'graphroot = "{store}/root"', f'runroot = "{store}/run"', ""]
        configuration.write_text("\n".join(lines))
    return os.environ | {"CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}


def buildah(*arguments: str) -> str:
    """Run buildah in the store of the tests and return its output.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    return run(["buildah", *arguments], env=environment())


def limit_store() -> None:
    """Empty the store if it exceeds its maximum size."""
    if (cache() / "store").exists() and _used(cache() / "store") > _MAX_STORE_BYTES:
        buildah("rmi", "--all", "--force")


def remove_old(pattern: str, keep: int = 2) -> None:
    """Remove old files of the cache, except the newest ones, which another process may be reading."""
    files = sorted(cache().glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[keep:]:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def locked() -> Generator[None]:
    """Hold the lock that lets one process at a time build images."""
    with (cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a program and return its output.

    Raises
    ------
    RuntimeError
        If it fails; the message ends with the last lines of its output.
    """
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=cwd, env=env, timeout=1800)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise RuntimeError(f"{' '.join(command[:2])} exited with status {done.returncode}:\n{last}")
    return done.stdout


def _overlay_works(folder: Path) -> bool:
    """Return whether the folder's file system supports overlay mounts; an overlay itself does not."""
    with tempfile.TemporaryDirectory(dir=folder) as trial:
        paths = {name: Path(trial, name) for name in ("lower", "upper", "work", "merged")}
        for path in paths.values():
            path.mkdir()
        options = f"lowerdir={paths['lower']},upperdir={paths['upper']},workdir={paths['work']}"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, str(paths["merged"])]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", str(paths["merged"])], check=True)
    return True


def _used(folder: Path) -> int:
    # `du` reports errors for files that a running build removes.
    output = subprocess.run(["du", "-sxB1", str(folder)], check=False, capture_output=True, text=True).stdout
    return int(output.split()[0]) if output else 0
