"""``charonctl provision``: set up a node with Ansible, task by task."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charon.adapters.ansible import (
    Playbook,
    find_tool,
    install_missing,
    missing_collections,
    needs_sudo_password,
    wants_become,
)
from charon.cli.signals import ended_by_signals
from charon.errors import UsageError
from charon.settings import environment

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.adapters.ansible import Summary

# With these Ansible only shows something, and changes nothing on any host.
_ONLY_SHOWS = {"--syntax-check", "--list-tasks", "--list-tags", "--list-hosts", "--version", "-h", "--help"}
_PASSWORD_ON_LINE = re.compile(r"pass(word)?[\"']?\s*[:=]", re.IGNORECASE)
_INVENTORY = re.compile(r"^(-i.*|--inventory(-file)?(=.*)?)$")
# Of ansible-playbook's options these say how hosts are reached, and each takes a value.
_CONNECTION = {
    *("-i", "--inventory", "--inventory-file", "-l", "--limit", "-u", "--user", "-c", "--connection"),
    *("--private-key", "--key-file", "-T", "--timeout", "--ssh-common-args", "--ssh-extra-args", "-e", "--extra-vars"),
}


_EXAMPLES = """\b
Examples:
  provision ansible/provision-masternode.yaml
  provision ansible/provision-masternode.yaml beamline@node1.example.org
  provision ansible/provision-masternode.yaml -e charon_artifacts=/media/usb/charon
  provision ansible/provision-masternode.yaml --tags monitoring
  provision ansible/provision-cluster.yaml -i my-cluster.yaml
  provision ansible/deprovision-masternode.yaml"""


@click.command(
    epilog=_EXAMPLES,
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": ["-h", "--help"],
    },
)
@click.option("--json", "as_json", is_flag=True, help="Write the summary as JSON.")
@click.argument("playbook", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[HOST] [ANSIBLE ARGUMENTS]...")
@ended_by_signals()
def provision(as_json: bool, playbook: Path, arguments: tuple[str, ...]) -> int:
    """Run an Ansible PLAYBOOK on HOST: this machine unless one is named, else by SSH.

    What follows HOST goes to ansible-playbook as it is. With an inventory among it (-i), HOST limits the run to
    that host. The exit status is Ansible's own: 0 done, 2 a task failed, 4 a host could not be reached.

    The sudo password is asked for only where sudo wants one, or taken from ANSIBLE_BECOME_PASS. The user of a
    remote host is the one in USER@HOST, else ANSIBLE_USER, else SSH's own. The collections that requirements.yml
    beside the playbook names are installed when they are missing.
    """
    _refuse_passwords(arguments)
    become = wants_become(playbook) or bool({"-b", "--become"} & set(arguments))
    find_tool("ansible-playbook")
    host, rest = _split(arguments)
    target, local = _target(host, rest)
    run = Playbook(playbook, [*target, *rest], environment.copy())
    _install_collections(playbook, run)
    only_shows = bool(_ONLY_SHOWS & set(rest))
    password = _password(run, local=local) if become and not only_shows else None
    summary = _show(run, password)
    if not only_shows:
        _say(summary, as_json=as_json)
    return summary.status


def _refuse_passwords(arguments: Sequence[str]) -> None:
    if any(_PASSWORD_ON_LINE.search(argument) for argument in arguments):
        raise UsageError(
            "a password on a command line can be read by everybody on this machine: "
            "for sudo leave it out and be asked, or set ANSIBLE_BECOME_PASS; others go in a file: -e @FILE"
        )


def _split(arguments: Sequence[str]) -> tuple[str | None, list[str]]:
    """Return the host, which is the first argument where that is no option, and the rest."""
    if arguments and not arguments[0].startswith("-"):
        return arguments[0], list(arguments[1:])
    return None, list(arguments)


def _target(host: str | None, rest: Sequence[str]) -> tuple[list[str], bool]:
    """Return Ansible's arguments for a host, and whether it is this machine."""
    if any(_INVENTORY.match(argument) for argument in rest):
        return (["--limit", host] if host else []), False
    user, _, name = (host or "localhost").rpartition("@")
    if not name or re.search(r"[\s,/]", name):
        raise UsageError(f"{host!r} is no name of a host; an inventory is given with -i FILE")
    if name in {"localhost", "127.0.0.1", "::1"}:
        return [
            "--inventory",
            f"{name},",
            "--connection",
            "local",
            "-e",
            f"ansible_python_interpreter={sys.executable}",
        ], True
    user = user or environment.get("ANSIBLE_USER")
    if not user and not {"-u", "--user"} & set(rest):
        user = _ask_user(name)
    return ["--inventory", f"{name},", *(["--user", user] if user else [])], False


def _ask_user(host: str) -> str:
    """Return the user for a host: asked for where somebody is there to answer and SSH's settings name none."""
    ssh = shutil.which("ssh")
    if not (sys.stdin.isatty() and sys.stderr.isatty()) or ssh is None:
        return ""
    done = subprocess.run([ssh, "-G", host], capture_output=True, text=True, check=False)  # noqa: S603
    named = next((line.split()[1] for line in done.stdout.splitlines() if line.startswith("user ")), "")
    if named and named != getpass.getuser():
        return named
    answer: str = click.prompt(f"user on {host}", default=named or getpass.getuser(), err=True)
    return answer


def _install_collections(playbook: Path, run: Playbook) -> None:
    requirements = playbook.parent / "requirements.yml"
    if not requirements.is_file():
        return
    missing = missing_collections(requirements, run.environment)
    if missing:
        click.echo(f"installing collections: {', '.join(missing)}", err=True)
        install_missing(requirements, run.environment)


def _password(run: Playbook, *, local: bool) -> str | None:
    """Return sudo's password where it is needed: from the environment, else asked for."""
    if {"-K", "--ask-become-pass"} & set(run.arguments) or any("-password-file" in part for part in run.arguments):
        return None
    given = environment.copy().get("ANSIBLE_BECOME_PASS")
    if not needs_sudo_password(_connection(run.arguments), run.environment, local=local):
        return None
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise UsageError("sudo asks for a password, and nobody is there to type it: set ANSIBLE_BECOME_PASS")
    answer: str = click.prompt("sudo password", hide_input=True, err=True)
    return answer


def _connection(arguments: Sequence[str]) -> list[str]:
    """Return those of ansible-playbook's arguments that say how hosts are reached."""
    kept: list[str] = []
    takes_value = False
    for argument in arguments:
        if takes_value or argument.partition("=")[0] in _CONNECTION or argument[:2] in {"-i", "-u", "-e", "-l", "-c"}:
            kept.append(argument)
            takes_value = not takes_value and argument in _CONNECTION
    return kept


def _show(run: Playbook, password: str | None) -> Summary:
    from charon.cli.provision_view import LiveView, PlainView  # noqa: PLC0415 - imports rich

    with LiveView() if sys.stderr.isatty() else PlainView() as view:
        return run.run(view.show, password)


def _say(summary: Summary, *, as_json: bool) -> None:
    """Write what was done."""
    from charon.cli.provision_view import summary_lines  # noqa: PLC0415 - imports rich

    if as_json:
        click.echo(json.dumps(summary.to_json(), indent=2))
        return
    for line in summary_lines(summary):
        click.echo(line)
