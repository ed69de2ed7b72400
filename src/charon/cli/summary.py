"""Summary of a run: a JSON file, and lines for the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from charon import __version__
from charon.cli.view import account_line, latency_line
from charon.ledger.latency import LatencySummary

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from charon.cli.session import Session


def run_summary(session: Session) -> dict[str, Any]:
    """Return the summary of a run as JSON values; empty if the run has not started."""
    if session.final is None:
        return {}
    engine, account = session.engine, session.final.account
    latency = session.final.latency() or LatencySummary()
    return {
        "run": engine.run,
        "pipeline": engine.pipeline.name,
        "charon": __version__,
        **account.to_json(),
        "adds_up": account.adds_up,
        "complete": session.complete,
        "latency_ms": {
            "p50": latency.p50,
            "p99": latency.p99,
            "max": latency.max,
            "frames": latency.count,
            "clock_disagrees": latency.clock_disagrees,
        },
        "restarts": {p.name: p.restarts for ps in engine.processes.values() for p in ps if p.restarts},
        "messages": list(engine.messages),
        "server_cpu_s": round(session.server_cpu_s, 3),
        "replicas": session.final.to_json()["replicas"],
    }


def print_summary(session: Session) -> None:
    """Print the account of frames and the latency."""
    if session.final is None:
        return
    click.echo(account_line(session.final.account))
    click.echo(latency_line(session.final.latency()))
    if not session.final.account.adds_up:
        click.echo("error: the account of frames is inconsistent; please report it with the run's folder", err=True)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=2) + "\n")
    part.replace(path)
