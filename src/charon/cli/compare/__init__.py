"""``charonctl compare``: the pipeline and the PvaPy baseline, measured side by side."""

from __future__ import annotations

from charon.cli.compare.command import compare

__all__ = ["compare"]
