"""A folder of artifacts with the layout of fetch-artifacts.yaml, and fake programs."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
from pathlib import Path

HERE = Path(__file__).parent
K3S = "v1.33.5+k3s1"
HELM = "v3.18.6"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def k3s(folder: Path, version: str = K3S) -> None:
    """Write a fake K3s, its images and the checksums of its release."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "k3s"
    program.write_text((HERE / "fake_k3s.py").read_text().replace("@VERSION@", version))
    images = folder / "k3s-airgap-images-amd64.tar.zst"
    images.write_bytes(b"images of K3s")
    (folder / "sha256sum-amd64.txt").write_text(
        f"{'0' * 64}  k3s-airgap-images-amd64.tar\n{sha256(program)}  k3s\n{sha256(images)}  {images.name}\n"
    )


def helm(folder: Path, version: str = HELM) -> None:
    """Write an archive with the layout of Helm's releases, and its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"helm-{version}-linux-amd64.tar.gz"
    program = f"#!/bin/sh\necho {version}\n".encode()
    with tarfile.open(archive, "w:gz") as tar:
        entry = tarfile.TarInfo("linux-amd64/helm")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    Path(f"{archive}.sha256sum").write_text(f"{sha256(archive)}  {archive.name}\n")


def toolkit(folder: Path) -> None:
    """Build two Debian packages; the first by name depends on the second."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, depends in (("libnvidia-container-tools", "libnvidia-container1"), ("libnvidia-container1", "")):
        tree = folder.parent / f"deb-{name}"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: tests <tests@example.org>\n"
            f"Description: fake package\n{f'Depends: {depends}' + chr(10) if depends else ''}"
        )
        built = folder / f"{name}_1.0_all.deb"
        subprocess.run(
            ["/usr/bin/dpkg-deb", "--root-owner-group", "--build", str(tree), str(built)],
            check=True,
            capture_output=True,
        )


def folder(path: Path) -> Path:
    """Write all artifacts to a folder."""
    k3s(path / "k3s")
    helm(path / "helm")
    (path / "images").mkdir()
    (path / "images/charon.tar").write_bytes(b"an archive of images")
    return path
