"""``charonctl model``: list, show and import model bundles."""

from __future__ import annotations

from pathlib import Path

import click

from charon.cli.parameters import Shape
from charon.cli.registry import SuggestingGroup
from charon.errors import UsageError

_FORMS = ("ptychonn2", "ptychonn2-norm")


@click.group(cls=SuggestingGroup)
def model() -> None:
    """List, show and import model bundles."""


@model.command("list")
def list_bundles() -> None:
    """List the bundles that Charon includes."""
    from charon.adapters.inference.bundle import load_bundle, shipped_bundles  # noqa: PLC0415 - imports pydantic

    for name in shipped_bundles():
        card = load_bundle(name).card
        rows, columns = card.input.detector_shape
        outputs = ", ".join(output.kind for output in card.outputs)
        click.echo(
            f"{name}@{card.version}: {rows}x{columns} frames to {card.patch.shape[0]}x{card.patch.shape[1]} {outputs}, "
            f"{card.patch.pixel_m * 1e9:.1f} nm pixels"
        )


@model.command()
@click.argument("bundle")
def show(bundle: str) -> None:
    """Print a bundle's card.

    BUNDLE is a folder, or a name that `model list` prints.
    """
    from charon.cli.assembly import open_bundle  # noqa: PLC0415 - imports NumPy

    click.echo(open_bundle(bundle).card.to_json(), nl=False)


@model.command("import")
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--form",
    type=click.Choice(_FORMS),
    default="ptychonn2",
    show_default=True,
    help="Published architecture and pre-processing.",
)
@click.option(
    "--detector-shape",
    type=Shape("ROWSxCOLUMNS"),
    default="512x512",
    show_default=True,
    help="Shape of the frames.",
)
@click.option("--pixel", "pixel_m", default=10e-9, show_default=True, help="Pixel size of the patches in m.")
@click.option(
    "--reference",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Reference frames (.npz) for mean and standard deviation; required by ptychonn2-norm.",
)
@click.option("--name", default="imported", show_default=True, help="Name of the bundle.")
@click.option("--version", default="1", show_default=True, help="Version of the bundle.")
def import_(
    weights: Path,
    folder: Path,
    form: str,
    detector_shape: tuple[int, int],
    pixel_m: float,
    reference: Path | None,
    name: str,
    version: str,
) -> None:
    """Convert published PyTorch WEIGHTS (.pth) to a bundle in FOLDER.

    PyTorch is not required.
    """
    from charon.adapters.inference.bundle import BundleError  # noqa: PLC0415 - imports pydantic
    from charon.adapters.models import ImportOptions, import_weights  # noqa: PLC0415 - imports ONNX

    options = ImportOptions(
        form="ptychonn2-norm" if form == "ptychonn2-norm" else "ptychonn2",
        detector_shape=detector_shape,
        pixel_m=pixel_m,
        reference=reference,
        name=name,
        version=version,
    )
    try:
        bundle = import_weights(weights, folder, options)
    except BundleError as error:
        raise UsageError(str(error)) from error
    click.echo(f"{bundle.card.name}@{bundle.card.version}: {bundle.path}")
