"""Nodes to provision, and artifacts for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import artifacts as fakes
from node import Node, require_nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of fake artifacts."""
    return fakes.folder(tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Node]]:
    """Return a function that boots a node; all nodes stop after the module."""
    require_nodes()
    nodes: list[Node] = []

    def start(name: str) -> Node:
        node = Node(name, tmp_path_factory.mktemp(name))
        nodes.append(node)
        node.start()
        return node

    yield start
    for node in nodes:
        node.stop()
