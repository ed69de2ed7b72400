"""Registry of charonctl's commands; each module is imported when its command is called."""

from __future__ import annotations

import importlib
from difflib import get_close_matches
from typing import TYPE_CHECKING

import click

from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "baseline": ("charon.cli.baseline:baseline", "Reconstruct frames with PvaPy's programs, for comparison."),
    "compare": ("charon.cli.compare:compare", "Measure the pipeline and the PvaPy baseline side by side."),
    "demo": ("charon.cli.demo:demo", "Simulate a scan and reconstruct it live on this machine."),
    "detector": ("charon.cli.detector:detector", "Publish simulated or recorded frames over pvAccess."),
    "kubectl": ("charon.cli.kubectl:kubectl", "Run kubectl against the detected cluster."),
    "metrics": ("charon.cli.metrics:metrics", "Export a run's metrics from Prometheus."),
    "model": ("charon.cli.model:model", "List, show and import model bundles."),
    "provision": ("charon.cli.provision:provision", "Set up a node with an Ansible playbook."),
    "reclaim": ("charon.cli.reclaim:reclaim", "Make released volumes available again."),
    "run": ("charon.cli.run:run", "Run a pipeline."),
    "status": ("charon.cli.status:status", "Show a pipeline's state and its account of frames."),
    "stop": ("charon.cli.stop:stop", "Drain and stop a pipeline."),
    "train": ("charon.cli.train:train", "Train a network for an instrument."),
}
"""``module:attribute`` and one-line summary of each command."""

CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"]}


class SuggestingGroup(click.Group):
    """Group that suggests the nearest name for an unknown command."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command named by the first argument.

        Raises
        ------
        UsageError
            If the command is unknown; the message suggests the nearest name.
        """
        name, known = args[0], self.list_commands(ctx)
        if name not in known and not name.startswith("-") and not ctx.resilient_parsing:
            raise UsageError(unknown_command(name, known, help_command=self.help_command(ctx)))
        return super().resolve_command(ctx, args)

    def help_command(self, ctx: click.Context) -> str:
        """Return the command that lists the commands of the group."""
        return f"{ctx.command_path} --help"


class LazyGroup(SuggestingGroup):
    """Group that imports a command only when it is called, so that help starts fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return [*COMMANDS, "help"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command by name, None if it is unknown."""
        return load_command(cmd_name) if cmd_name in COMMANDS else super().get_command(ctx, cmd_name)

    def help_command(self, ctx: click.Context) -> str:
        """Return the command that lists the commands of the group."""
        return "charonctl help"

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the registry, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


def load_command(name: str) -> click.Command:
    """Import a command of the registry and return it."""
    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


def unknown_command(name: str, known: Sequence[str], *, help_command: str = "charonctl help") -> str:
    """Return the error message for an unknown command, with the nearest known name."""
    nearest = get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"see: {help_command}"
    return f"unknown command {name!r}; {hint}"
