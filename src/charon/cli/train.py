"""``charonctl train``: a network for an instrument, from simulated pairs."""

from __future__ import annotations

from pathlib import Path

import click

from charon.errors import UsageError


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--form",
    type=click.Choice(["live", "ptychonn2", "two-headed", "two-headed-live"]),
    default="live",
    show_default=True,
    help="Form of the network.",
)
@click.option("--name", default="trained", show_default=True, help="Name of the bundle.")
@click.option("--version", default="1", show_default=True, help="Its version.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), help="Time to train, instead of --steps.")
@click.option("--steps", default=6000, show_default=True, type=click.IntRange(1), help="Batches to train on.")
@click.option("--pairs", default=20_000, show_default=True, type=click.IntRange(1), help="Simulated pairs.")
@click.option("--batch", default=32, show_default=True, type=click.IntRange(1), help="Pairs a step.")
@click.option("--rate", default=3e-3, show_default=True, type=click.FloatRange(0, min_open=True), help="Learning rate.")
@click.option("--seed", default=0, show_default=True, help="Of objects, noise and weights.")
@click.option("--threads", default=0, help="0: one a core.")
@click.option("--flux", default=1e6, type=click.FloatRange(0, min_open=True), help="Photons a frame.")
@click.option("--probe", "probe_file", type=click.Path(exists=True, path_type=Path), help="Measured probe (.npz).")
@click.option("--probe-pixel", "probe_pixel_m", type=click.FloatRange(0, min_open=True), help="Its pixel in m.")
@click.option("--free-offset", is_flag=True, help="Leave each patch's constant of phase open: for measured samples.")
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
    """Train a network on simulated pairs and write its bundle to FOLDER; needs PyTorch: pip install torch."""
    try:
        from charon.adapters.training import FORMS, TrainOptions  # noqa: PLC0415 - imports PyTorch
        from charon.adapters.training import train as run_training  # noqa: PLC0415 - imports PyTorch
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise UsageError("training needs PyTorch: .venv/bin/pip install -r requirements/train.txt") from error
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
