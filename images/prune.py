"""Remove unused files from the image's environment: build tools, plugins for other devices, tests, debug symbols.

It runs during the build, with the interpreter of the environment. An entry that matches nothing is an error, which
keeps the lists correct when packages change.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# Packages. The first line has build tools. pynumaflow requires the others in its metadata, but does not import them:
# grpcio-tools, google-api-core, and their requirements.
DISTRIBUTIONS = (
    *("hatchling", "editables", "pathspec", "pluggy", "tomlkit", "trove-classifiers"),
    *("grpcio-tools", "setuptools"),
    *("google-api-core", "google-auth", "proto-plus", "opentelemetry-api", "requests", "charset-normalizer", "urllib3"),
    *("cryptography", "cffi", "pycparser", "pyasn1", "pyasn1-modules"),
)

# OpenVINO's plugins for other devices and other model formats: networks are ONNX files and run on the CPU.
OPENVINO = (
    "openvino/include",
    "openvino/cmake",
    "openvino/libs/cache.json",
    "openvino/libs/libopenvino_intel_[gn]pu_plugin.so",
    *(f"openvino/libs/libopenvino_{name}_frontend.so.*" for name in ("gguf", "jax", "paddle", "pytorch")),
    *(f"openvino/libs/libopenvino_{name}_frontend.so.*" for name in ("tensorflow", "tensorflow_lite")),
)

# Documentation, tests, and headers.
FILES = (
    "pvaccess/doc",
    "onnx/backend/test",
    "numpy/**/tests",
    "scipy/**/tests",
    "h5py/tests",
    "numpy/**/include",
    "**/*.pxd",
    "**/*.pyx",
    "**/*.pyi",
)

# Subpackages of SciPy that neither Charon nor the remaining subpackages import.
SCIPY = (
    *("scipy/cluster", "scipy/datasets", "scipy/differentiate", "scipy/fftpack", "scipy/integrate"),
    *("scipy/interpolate", "scipy/io", "scipy/odr", "scipy/optimize", "scipy/signal", "scipy/stats"),
)

# The codecs of area detectors, which are kept. imagecodecs loads codecs lazily and reports missing ones.
CODECS = ("_shared", "_shared_cython", "_imcd", "_bitshuffle", "_blosc", "_blosc2", "_lz4", "_lz4f", "_zlib", "_zstd")

# Packages whose libraries contain debug symbols. Others were patched after linking, and strip may break them.
STRIPPED = ("hdf5plugin/plugins", "uvloop", "yaml")


def main() -> None:
    """Prune the environment of this interpreter and print its size before and after."""
    site = Path(sysconfig.get_path("purelib"))
    before = total(site)
    for name in DISTRIBUTIONS:
        remove_distribution(name)
    for pattern in (*OPENVINO, *FILES, *SCIPY):
        remove_files(site, pattern)
    prune_codecs(site)
    link_copies(site / "pvaccess/lib")
    for folder in STRIPPED:
        libraries = sorted(map(str, (site / folder).rglob("*.so")))
        subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)  # noqa: S603, S607 - own paths
    print(f"{site}: {before / 1e6:.0f} MB, pruned to {total(site) / 1e6:.0f} MB")  # noqa: T201 - the log of the build


def remove_distribution(name: str) -> None:
    """Remove the files of an installed package, including its metadata."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"error: {name} is not installed; remove it from images/prune.py")
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        path.unlink(missing_ok=True)
        remove_empty(path.parent)


def remove_empty(folder: Path) -> None:
    """Remove a folder and its parents if they are empty."""
    while folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def remove_files(site: Path, pattern: str) -> None:
    """Remove the files and folders that match a pattern."""
    paths = sorted(site.glob(pattern))
    if not paths:
        sys.exit(f"error: no file matches {pattern}; remove it from images/prune.py")
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def prune_codecs(site: Path) -> None:
    """Remove codecs that are not in `CODECS`, and libraries that none of these is linked to."""
    libraries = site / "imagecodecs.libs"
    kept = [path for path in (site / "imagecodecs").glob("*.so") if path.name.split(".")[0] in CODECS]
    if len(kept) != len(CODECS):
        sys.exit(f"error: imagecodecs has only {sorted(path.name for path in kept)}; correct CODECS in images/prune.py")
    needed, queue = set(kept), list(kept)
    while queue:
        linked = {libraries / name for name in linked_libraries(queue.pop())}
        queue += [path for path in linked - needed if path.exists()]
        needed |= linked
    for path in [*(site / "imagecodecs").glob("*.so"), *libraries.iterdir()]:
        if path not in needed:
            path.unlink()


def linked_libraries(library: Path) -> list[str]:
    """Return the names of the libraries that a library is linked to."""
    command = ["readelf", "--dynamic", "--wide", str(library)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603
    return [line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line]


def link_copies(folder: Path) -> None:
    """Replace duplicate libraries of a wheel, x.so and x.so.1, by a symbolic link."""
    for path in folder.rglob("*.so.*"):
        short = path.with_name(path.name.split(".so.")[0] + ".so")
        if short.is_file() and not short.is_symlink() and short.read_bytes() == path.read_bytes():
            short.unlink()
            short.symlink_to(path.name)


def total(folder: Path) -> int:
    """Return the size of the files in a folder, in bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


if __name__ == "__main__":
    main()
