"""Take out of an environment what nothing here runs: build tools, other devices' plugins, tests, debugging symbols.

Runs once while an image is built, with the environment's own interpreter. Every entry has to match something, so that
the lists stay true when packages change.
"""

# ruff: noqa: INP001 - a script
from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

# Whole packages. Those after the first line are needed by pynumaflow's metadata alone: by grpcio-tools, which compiles
# protocols, and by google-api-core, which it does not import.
DISTRIBUTIONS = (
    *("hatchling", "editables", "pathspec", "pluggy", "tomlkit", "trove-classifiers"),
    *("grpcio-tools", "setuptools"),
    *("google-api-core", "google-auth", "proto-plus", "opentelemetry-api", "requests", "charset-normalizer", "urllib3"),
    *("cryptography", "cffi", "pycparser", "pyasn1", "pyasn1-modules"),
)

# OpenVINO's plugins for other devices and readers of other formats: networks are ONNX files and run on the CPU.
OPENVINO = (
    "openvino/include",
    "openvino/cmake",
    "openvino/libs/cache.json",
    "openvino/libs/libopenvino_intel_[gn]pu_plugin.so",
    *(f"openvino/libs/libopenvino_{name}_frontend.so.*" for name in ("gguf", "jax", "paddle", "pytorch")),
    *(f"openvino/libs/libopenvino_{name}_frontend.so.*" for name in ("tensorflow", "tensorflow_lite")),
)

# Documentation, the packages' own tests, and what compilers read.
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

# Parts of SciPy that neither Charon nor a part that it uses imports.
SCIPY = (
    *("scipy/cluster", "scipy/datasets", "scipy/differentiate", "scipy/fftpack", "scipy/integrate"),
    *("scipy/interpolate", "scipy/io", "scipy/odr", "scipy/optimize", "scipy/signal", "scipy/stats"),
)

# Codecs that area detectors use; imagecodecs loads each when it is first asked for and says which are not there.
CODECS = ("_shared", "_shared_cython", "_imcd", "_bitshuffle", "_blosc", "_blosc2", "_lz4", "_lz4f", "_zlib", "_zstd")

# Packages whose libraries carry symbols that only a debugger reads. Others were rewritten after linking, which strip
# does not always survive; they have little to give.
STRIPPED = ("hdf5plugin/plugins", "uvloop", "yaml")


def main() -> None:
    """Prune the environment of this interpreter and say how much it was."""
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
        subprocess.run(["strip", "--strip-unneeded", *libraries], check=True)  # noqa: S603, S607 - paths of ours
    print(f"{site}: {before / 1e6:.0f} MB, pruned to {total(site) / 1e6:.0f} MB")  # noqa: T201 - a builder's log


def remove_distribution(name: str) -> None:
    """Remove the files of an installed package, its entry among the installed ones included."""
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        sys.exit(f"error: {name} is not installed; take it out of images/prune.py")
    for file in distribution.files or []:
        path = Path(str(distribution.locate_file(file)))
        path.unlink(missing_ok=True)
        remove_empty(path.parent)


def remove_empty(folder: Path) -> None:
    """Remove a folder and those above it as long as they are empty."""
    while folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def remove_files(site: Path, pattern: str) -> None:
    """Remove the files and folders that a pattern names."""
    found = sorted(site.glob(pattern))
    if not found:
        sys.exit(f"error: nothing is called {pattern}; take it out of images/prune.py")
    for path in found:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def prune_codecs(site: Path) -> None:
    """Keep the codecs of `CODECS` and the libraries that they are linked to."""
    libraries = site / "imagecodecs.libs"
    kept = [path for path in (site / "imagecodecs").glob("*.so") if path.name.split(".")[0] in CODECS]
    if len(kept) != len(CODECS):
        sys.exit(f"error: imagecodecs has only {sorted(path.name for path in kept)}; put images/prune.py right")
    needed, unseen = set(kept), list(kept)
    while unseen:
        linked = {libraries / name for name in needed_by(unseen.pop())}
        unseen += [path for path in linked - needed if path.exists()]
        needed |= linked
    for path in [*(site / "imagecodecs").glob("*.so"), *libraries.iterdir()]:
        if path not in needed:
            path.unlink()


def needed_by(library: Path) -> list[str]:
    """Return the names of the libraries that one is linked to."""
    command = ["readelf", "--dynamic", "--wide", str(library)]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()  # noqa: S603
    return [line.split("[")[1].rstrip("]") for line in lines if "(NEEDED)" in line]


def link_copies(folder: Path) -> None:
    """Replace libraries that a wheel holds twice, as x.so and as x.so.1, by links."""
    for path in folder.rglob("*.so.*"):
        short = path.with_name(path.name.split(".so.")[0] + ".so")
        if short.is_file() and not short.is_symlink() and short.read_bytes() == path.read_bytes():
            short.unlink()
            short.symlink_to(path.name)


def total(folder: Path) -> int:
    """Return the bytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


if __name__ == "__main__":
    main()
