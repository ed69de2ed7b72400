"""``charonctl kubectl``: run kubectl for the configured cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from charon.adapters.kubernetes import pass_through
from charon.cli.parameters import resolve_shipped_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PASS_ALL: dict[str, Any] = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
_FILE_OPTIONS = {"-f", "--filename", "-k", "--kustomize"}


@click.command(context_settings=_PASS_ALL)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def kubectl(arguments: tuple[str, ...]) -> int:
    """Run kubectl with the given arguments on this terminal.

    The kubeconfig is $KUBECONFIG, else ~/.kube/config, else that of K3s. The exit status is that of kubectl.
    """
    return pass_through(list(_with_shipped_files(arguments)))


def _with_shipped_files(arguments: Sequence[str]) -> Iterator[str]:
    """Replace each missing file with the manifest of that name that ships with Charon."""
    previous = ""
    # What follows `--` is a command for a container.
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for argument in arguments[:end]:
        option, separator, value = argument.partition("=")
        if previous in _FILE_OPTIONS:
            yield resolve_shipped_name(argument)
        elif separator and option in _FILE_OPTIONS:
            yield f"{option}={resolve_shipped_name(value)}"
        else:
            yield argument
        previous = argument
    yield from arguments[end:]
