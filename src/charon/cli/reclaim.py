"""``charonctl reclaim``: make released volumes of the inter-step buffers available again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from charon.adapters.kubernetes import Kubectl
from charon.cli.signals import exit_on_signals
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.engines.cluster import Volume


@click.command()
@click.option("--storage-class", default="charon-local", show_default=True, help="Storage class of the volumes.")
@click.option("--dry-run", is_flag=True, help="List the volumes without changing them.")
@exit_on_signals()
def reclaim(storage_class: str, dry_run: bool) -> int:
    """Remove the former claim from released volumes, so that a new inter-step buffer can bind them.

    Run this after you deleted an inter-step buffer. Files in the volumes' folders are kept.
    """
    from charon.engines.cluster import list_volumes, reclaim_volumes, released_volumes  # noqa: PLC0415 - imports NATS

    kubectl = Kubectl()
    before = list_volumes(kubectl, storage_class)
    if not before:
        raise UsageError(
            f"no volume has the storage class {storage_class};"
            " create the volumes: charonctl kubectl apply -f workflows/aps/numaflow-storage-class.yaml"
        )
    released = released_volumes(before)
    _show("before", before)
    if not released:
        click.echo("no released volume: nothing to do", err=True)
        return 0
    if dry_run:
        return 0
    _show("after", reclaim_volumes(kubectl, released, storage_class, lambda line: click.echo(line, err=True)))
    folders = " ".join(volume.path for volume in released if volume.path)
    if folders:
        click.echo(
            "The files of the former inter-step buffer still exist, and a new one restores its streams from them."
            f" To start with empty streams, empty these folders on their nodes first:\n  {folders}",
            err=True,
        )
    return 0


def _show(title: str, volumes: list[Volume]) -> None:
    click.echo(f"{title}:")
    width = max(len(volume.name) for volume in volumes)
    for volume in volumes:
        click.echo(f"  {volume.name:<{width}}  {volume.phase:<9}  {volume.claim or '-'}")
