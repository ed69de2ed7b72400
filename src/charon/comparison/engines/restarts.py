"""Restarts of an engine's processes and its messages, from the summary of its run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


_RESTART = "; restarting in "


def restart_notes(summary: Path) -> list[str]:
    """Return a line for each process that was restarted, the other messages, and one if the summary is missing."""
    try:
        document: dict[str, Any] = json.loads(summary.read_text())
    except (OSError, ValueError):
        return ["the engine wrote no summary"]
    restarts: dict[str, int] = document.get("restarts") or {}
    lines = [restart_note(name, n) for name, n in sorted(restarts.items())]
    messages: list[str] = document.get("messages") or []
    return lines + [message for message in messages if _RESTART not in message]


def restart_note(name: str, restarts: int) -> str:
    """Return the number of restarts of a process in one line."""
    times = {1: "once", 2: "twice"}.get(restarts, f"{restarts} times")
    return f"{name} was restarted {times}"
