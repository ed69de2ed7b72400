"""Shipped manifests and playbooks are found from any folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from charon.resources import FOLDERS, resolve, shipped

MANIFEST = "workflows/aps/numaflow-aps-live.yaml"


@pytest.mark.parametrize("path", [MANIFEST, "ansible/provision-masternode.yaml", "workflows/aps"])
def test_shipped_path_resolves_anywhere(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert resolve(path).exists()
    assert resolve(path).is_absolute()


def test_local_file_has_precedence(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(MANIFEST).parent.mkdir(parents=True)
    Path(MANIFEST).write_text("kind: Pipeline\n")
    assert resolve(MANIFEST) == Path(MANIFEST)


@pytest.mark.parametrize(
    "path", ["missing.yaml", "workflows/missing.yaml", "workflows/../pyproject.toml", "/etc/passwd", "", "src/charon"]
)
def test_other_path_is_unchanged(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    assert shipped(path) is None
    assert resolve(path) == Path(path)


def test_wheel_includes_every_folder():
    import tomllib

    project = Path(__file__).parents[2] / "pyproject.toml"
    wheel = tomllib.loads(project.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {folder: f"charon/resources/{folder}" for folder in FOLDERS}


@pytest.mark.parametrize("path", ["a" * 300, f"workflows/{'a' * 300}", "workflows/\0"])
def test_path_that_cannot_be_checked_is_unchanged(path):
    assert resolve(path) == Path(path)
