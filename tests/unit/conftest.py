"""Small file systems, for tests of a full disk."""

from __future__ import annotations

import subprocess

import pytest


@pytest.fixture
def small_disk(tmp_path):
    """Return a function that mounts a file system of a given size in MiB; skips without the permission."""
    mounted = []

    def mount(size_mib):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", str(folder)]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("mounting a small file system needs root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)
