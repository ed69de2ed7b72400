"""Calling ``charonctl provision`` as a user would, and inventories to call it with."""

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
    """What a call of charonctl left."""

    status: int
    summary: dict[str, Any]
    stdout: str
    stderr: str

    def changed(self, host: str) -> list[str]:
        """Return the names of the tasks that changed something."""
        return self.summary["changed"].get(host, [])


def clean_environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "CHARON_"))}
    return {**kept, **more}


def charonctl(*arguments: str | Path, cwd: Path = ROOT, timeout: float = 550, **environment: str) -> Done:
    """Run ``charonctl provision`` as a user would, in a pipe."""
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


def inventory(place: Path, *nodes: Node, user: str = "trusted", **settings: Any) -> Path:
    """Write an inventory of nodes: the first is the server, the rest are agents."""
    hosts = {node.name: node.host_vars(user) for node in nodes}
    names = list(hosts)
    # JSON is YAML too.
    document = {
        "all": {"hosts": hosts, "vars": {"charon_min_disk_gb": 1, **settings}},
        "server": {"hosts": {names[0]: None}},
        "agents": {"hosts": dict.fromkeys(names[1:])},
    }
    place.write_text(json.dumps(document))
    return place
