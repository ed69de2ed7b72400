"""Calls of ``charonctl provision`` as a user makes them, and inventories for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from node import Node

ROOT = Path(__file__).parents[2]
ANSIBLE = ROOT / "ansible"


class Done(NamedTuple):
    """Result of a call of charonctl."""

    status: int
    summary: dict[str, Any]
    stdout: str
    stderr: str

    def changed(self, host: str) -> list[str]:
        """Return the names of the tasks that changed a host."""
        return self.summary["changed"].get(host, [])


def clean_environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CHARON_"))}
    return {**inherited, **more}


def charonctl(*arguments: str | Path, cwd: Path = ROOT, timeout: float = 550, **environment: str) -> Done:
    """Run ``charonctl provision`` with its output in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "charon.cli.main", "provision", *map(str, arguments)],
        cwd=cwd,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    summary = json.loads(done.stdout) if "--json" in arguments and done.stdout.startswith("{") else {}
    return Done(done.returncode, summary, done.stdout, done.stderr)


def inventory(path: Path, *nodes: Node, user: str = "trusted", **settings: Any) -> Path:
    """Write an inventory: the first node is the server, the others are agents."""
    hosts = {node.name: node.host_vars(user) for node in nodes}
    names = list(hosts)
    # JSON is valid YAML.
    document = {
        "all": {"hosts": hosts, "vars": {"charon_min_disk_gb": 1, **settings}},
        "server": {"hosts": {names[0]: None}},
        "agents": {"hosts": dict.fromkeys(names[1:])},
    }
    path.write_text(json.dumps(document))
    return path
