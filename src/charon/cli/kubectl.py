"""``charonctl kubectl``: kubectl as it is, for the cluster that is found."""

from __future__ import annotations

import click

_AS_IT_IS = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}


@click.command(context_settings=_AS_IT_IS)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> int:
    """Run kubectl with all that follows, on this terminal.

    The kubeconfig is that of $KUBECONFIG, else ~/.kube/config, else K3s's own. The exit status is kubectl's.
    """
    from charon.adapters.kubernetes import pass_through

    return pass_through(arguments)
