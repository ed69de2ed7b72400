"""``charonctl kubectl``: kubectl as it is, for the cluster that is found."""

from __future__ import annotations

from typing import Any

import click

from charon.adapters.kubernetes import pass_through

_AS_IT_IS: dict[str, Any] = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=_AS_IT_IS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> int:
    """Run kubectl with all that follows, on this terminal.

    The kubeconfig is that of $KUBECONFIG, else ~/.kube/config, else K3s's own. The exit status is kubectl's.
    """
    return pass_through(arguments)
