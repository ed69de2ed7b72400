"""Command and options of ``charonctl provision``: run a playbook and show its tasks."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from charon.adapters.ansible import Playbook, find_tool, install_collections, missing_collections, uses_become
from charon.cli.parameters import ShippedPath
from charon.cli.provision.arguments import connection_arguments, reject_passwords, resolve_target, split_host
from charon.cli.provision.password import sudo_password
from charon.cli.signals import exit_on_signals
from charon.settings import environment

if TYPE_CHECKING:
    from pathlib import Path

    from charon.adapters.ansible import Summary

# With one of these options, ansible-playbook prints something and does not change a host.
_READ_ONLY_OPTIONS = {"--syntax-check", "--list-tasks", "--list-tags", "--list-hosts", "--version", "-h", "--help"}

_EXAMPLES = """\b
Examples:
  charonctl provision ansible/provision-masternode.yaml
  charonctl provision ansible/provision-masternode.yaml beamline@node1.example.org
  charonctl provision ansible/provision-masternode.yaml -e charon_artifacts=/media/usb/charon
  charonctl provision ansible/provision-masternode.yaml --tags monitoring
  charonctl provision ansible/provision-cluster.yaml -i my-cluster.yaml
  charonctl provision ansible/deprovision-masternode.yaml"""


@click.command(
    epilog=_EXAMPLES,
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
    },
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.argument("playbook", type=ShippedPath())
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[HOST] [ANSIBLE ARGUMENTS]...")
@exit_on_signals()
def provision(as_json: bool, playbook: Path, arguments: tuple[str, ...]) -> int:
    """Run an Ansible PLAYBOOK on HOST over SSH, or on this machine by default.

    Arguments after HOST are passed to ansible-playbook. With an inventory (-i), HOST limits the run to that host. The
    exit status is Ansible's own: 0 success, 2 a task failed, 4 a host is unreachable.

    The sudo password is read from ANSIBLE_BECOME_PASS, or prompted for if sudo requires one. The user on a remote
    host is the one in USER@HOST, else ANSIBLE_USER, else the default of SSH. Collections in requirements.yml next to
    the playbook are installed if they are missing.
    """
    reject_passwords(arguments)
    become = uses_become(playbook) or bool({"-b", "--become"} & set(arguments))
    find_tool("ansible-playbook")
    host, rest = split_host(arguments)
    target, local = resolve_target(host, rest)
    run = Playbook(playbook, [*target, *rest], environment.copy())
    _install_collections(playbook, run)
    read_only = bool(_READ_ONLY_OPTIONS & set(rest))
    password = None
    if become and not read_only:
        password = sudo_password(run, connection_arguments(run.arguments), local=local)
    summary = _follow(run, password)
    if not read_only:
        _report(summary, as_json=as_json)
    return summary.status


def _install_collections(playbook: Path, run: Playbook) -> None:
    requirements = playbook.parent / "requirements.yml"
    if not requirements.is_file():
        return
    missing = missing_collections(requirements, run.environment)
    if missing:
        click.echo(f"installing collections: {', '.join(missing)}", err=True)
        install_collections(requirements, run.environment)


def _follow(run: Playbook, password: str | None) -> Summary:
    from charon.cli.provision.view import LiveView, PlainView  # noqa: PLC0415 - imports rich

    with LiveView() if sys.stderr.isatty() else PlainView() as view:
        return run.run(view.show, password)


def _report(summary: Summary, *, as_json: bool) -> None:
    from charon.cli.provision.view import summary_lines  # noqa: PLC0415 - imports rich

    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
        return
    for line in summary_lines(summary):
        click.echo(line)
