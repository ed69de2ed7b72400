"""``charonctl provision``: set up a node with Ansible and show each task."""

from __future__ import annotations

from charon.cli.provision.command import provision

__all__ = ["provision"]
