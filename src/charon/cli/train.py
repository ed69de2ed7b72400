"""``charonctl train``: train a network for an instrument on simulated pairs."""

from __future__ import annotations

from pathlib import Path

import click

from charon.cli.parameters import FiniteRange
from charon.errors import UsageError


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--form",
    type=click.Choice(["live", "ptychonn2", "two-headed", "two-headed-live"]),
    default="live",
    show_default=True,
    help="Architecture of the network.",
)
@click.option("--name", default="trained", show_default=True, help="Name of the bundle.")
@click.option("--version", default="1", show_default=True, help="Version of the bundle.")
@click.option("--minutes", type=FiniteRange(0, min_open=True), help="Duration of the training; overrides --steps.")
@click.option("--steps", default=6000, show_default=True, type=click.IntRange(1), help="Number of batches to train on.")
@click.option("--pairs", default=20_000, show_default=True, type=click.IntRange(1), help="Number of simulated pairs.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1), help="Pairs per step.")
@click.option(
    "--rate", default=3e-3, show_default=True, type=FiniteRange(0, min_open=True), help="Maximum learning rate."
)
@click.option("--seed", default=0, show_default=True, help="Random seed for objects, noise and initial weights.")
@click.option(
    "--threads", type=click.IntRange(0), default=0, show_default=True, help="Number of threads; 0 for one per core."
)
@click.option("--flux", default="1e6", show_default=True, type=FiniteRange(0, min_open=True), help="Photons per frame.")
@click.option("--probe", "probe_file", type=click.Path(exists=True, path_type=Path), help="Measured probe (.npz).")
@click.option(
    "--probe-pixel",
    "probe_pixel_m",
    type=FiniteRange(0, min_open=True),
    help="Pixel size of the measured probe in m; required with --probe.",
)
@click.option("--free-offset", is_flag=True, help="Reconstruct phase up to a constant per patch, for measured samples.")
def train(
    folder: Path,
    form: str,
    name: str,
    version: str,
    minutes: float | None,
    steps: int,
    pairs: int,
    batch: int,
    rate: float,
    seed: int,
    threads: int,
    flux: float,
    probe_file: Path | None,
    probe_pixel_m: float | None,
    free_offset: bool,
) -> None:
    """Train a network on simulated pairs and write its bundle to FOLDER.

    Requires PyTorch: install requirements/train.txt, or charon-ptycho[train] outside a checkout.
    """
    try:
        from charon.adapters.training import FORMS, TrainOptions  # noqa: PLC0415 - imports PyTorch
        from charon.adapters.training import train as run_training  # noqa: PLC0415 - imports PyTorch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError(
            "training requires PyTorch; install requirements/train.txt, or charon-ptycho[train] outside a checkout"
        ) from error
    options = TrainOptions(
        form=next(known for known in FORMS if known == form),
        out_dir=folder,
        name=name,
        version=version,
        minutes=minutes,
        steps=steps,
        pairs=pairs,
        batch=batch,
        rate=rate,
        seed=seed,
        threads=threads,
        probe_file=probe_file,
        probe_pixel_m=probe_pixel_m,
        flux=flux,
        free_offset=free_offset,
    )
    try:
        run_training(options, lambda line: click.echo(line, err=True))
    except ValueError as error:
        raise UsageError(str(error)) from error
