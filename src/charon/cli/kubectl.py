"""``charonctl kubectl``: run kubectl for the configured cluster."""

from __future__ import annotations

from typing import Any

import click

from charon.adapters.kubernetes import pass_through

_PASS_ALL: dict[str, Any] = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=_PASS_ALL)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> int:
    """Run kubectl with the given arguments on this terminal.

    The kubeconfig is $KUBECONFIG, else ~/.kube/config, else that of K3s. The exit status is that of kubectl.
    """
    return pass_through(arguments)
