"""``charonctl reclaim``: make released volumes of the inter-step buffers available again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charon.adapters.kubernetes import Kubectl
from charon.cli.signals import ended_by_signals
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.engines.cluster import Volume


@click.command()
@click.option("--storage-class", default="charon-local", show_default=True, help="Whose volumes.")
@click.option("--dry-run", is_flag=True, help="Only show what is released.")
@ended_by_signals()
def reclaim(storage_class: str, dry_run: bool) -> int:
    """Take the former claim off released volumes, so that a new inter-step buffer gets them.

    Needed after the inter-step buffer was deleted. What lies in their folders stays there.
    """
    from charon.engines.cluster import list_volumes, reclaim_volumes, released_volumes  # noqa: PLC0415 - imports NATS

    kubectl = Kubectl()
    before = list_volumes(kubectl, storage_class)
    if not before:
        raise UsageError(
            f"there are no volumes of the storage class {storage_class};"
            " make them: charonctl kubectl apply -f workflows/aps/numaflow-storage-class.yaml"
        )
    released = released_volumes(before)
    _show("before", before)
    if not released:
        click.echo("no volume is released: nothing to do", err=True)
        return 0
    if dry_run:
        return 0
    _show("after", reclaim_volumes(kubectl, released, storage_class, lambda line: click.echo(line, err=True)))
    folders = " ".join(volume.path for volume in released if volume.path)
    if folders:
        click.echo(
            "The files of the former inter-step buffer are still there. A new one takes them up, with what was left in"
            f" its streams. To begin with nothing, empty these folders on their nodes first:\n  {folders}",
            err=True,
        )
    return 0


def _show(title: str, volumes: list[Volume]) -> None:
    click.echo(f"{title}:")
    width = max(len(volume.name) for volume in volumes)
    for volume in volumes:
        click.echo(f"  {volume.name:<{width}}  {volume.phase:<9}  {volume.claim or '-'}")
