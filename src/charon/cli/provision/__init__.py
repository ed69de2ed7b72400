"""``charonctl provision``: set up a node with Ansible, task by task."""

from __future__ import annotations

from charon.cli.provision.command import provision

__all__ = ["provision"]
