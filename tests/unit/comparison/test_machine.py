"""Facts of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

import charon
from charon.comparison import machine


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000\n", 4), ("150000 100000\n", 1), ("200000 100000\n", 2), ("1000 100000\n", 1), ("900000 100000", 4)],
)
def test_cores_are_limited_by_control_group(tmp_path, monkeypatch, limit, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5})
    (tmp_path / "cpu.max").write_text(limit)
    assert machine.usable_cores(tmp_path) == expected


def test_cores_without_control_group(tmp_path):
    assert machine.usable_cores(tmp_path) == len(os.sched_getaffinity(0))


def test_machine_is_described():
    described = machine.this_machine()
    assert described.hostname == os.uname().nodename
    assert os.uname().release in described.system
    assert described.cpu
    assert 0 < described.memory_bytes <= psutil.virtual_memory().total


def test_versions_are_those_of_the_packages():
    versions = machine.versions()
    assert versions["charon"] == charon.__version__
    assert versions["numpy"] == np.__version__
    assert versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert versions["nats-server"][0].isdecimal()


def test_gpus_are_listed_by_nvidia_smi(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\n[ "$1" = --query-gpu=name ] && printf "NVIDIA H200\\nNVIDIA L4\\n"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert machine.this_machine().gpus == ["NVIDIA H200", "NVIDIA L4"]


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """Return a git checkout that contains the package."""
    package = tmp_path / "src/charon/__init__.py"
    package.parent.mkdir(parents=True)
    package.write_text("")
    monkeypatch.setattr(charon, "__file__", str(package))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "-c", "user.name=n", "-c", "user.email=e", "commit", "--quiet", "--no-verify", "-m", "first")
    return tmp_path


def git(folder, *arguments):
    return subprocess.run(
        [shutil.which("git") or "git", *arguments], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_commit_of_clean_checkout(checkout):
    assert machine.commit() == git(checkout, "rev-parse", "HEAD")


def test_changed_checkout_is_dirty(checkout):
    Path(charon.__file__).write_text("changed = True\n")
    assert machine.commit() == git(checkout, "rev-parse", "HEAD") + "-dirty"


def test_package_inside_another_checkout_has_no_commit(checkout, monkeypatch):
    installed = checkout / "venv/lib/site-packages/charon/__init__.py"
    installed.parent.mkdir(parents=True)
    installed.write_text("")
    monkeypatch.setattr(charon, "__file__", str(installed))
    assert machine.commit() is None
