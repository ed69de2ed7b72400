"""The tree of tests: base names are unique, and unit tests mirror the source."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_test_modules_have_unique_names():
    # pytest imports modules without a package by base name; a second one of that name does not load.
    paths = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        paths[path.name].append(str(path.relative_to(ROOT)))
    assert not [found for found in paths.values() if len(found) > 1]


def test_unit_test_folders_mirror_src():
    folders = {path.parent.relative_to(ROOT / "tests/unit") for path in (ROOT / "tests/unit").rglob("test_*.py")}
    missing = sorted(str(folder) for folder in folders if not (ROOT / "src/charon" / folder).is_dir())
    assert not missing
