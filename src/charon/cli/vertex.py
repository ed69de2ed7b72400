"""``charon-vertex``: entry point of every vertex's process, on any engine."""

from __future__ import annotations

import asyncio
import logging
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charon.cli.assembly import make_image_sink, make_inference, make_log_sink, make_source
from charon.cli.exit_status import run_command
from charon.cli.parameters import FiniteRange
from charon.cli.registry import CONTEXT_SETTINGS, SuggestingGroup
from charon.errors import UsageError
from charon.settings.roles import ImageSinkSettings, InferenceSettings, SourceSettings
from charon.settings.vertex import EmbeddedSettings, NumaflowSettings, read_vertex_settings

if TYPE_CHECKING:
    from charon.vertices.roles import Role


@click.group(cls=SuggestingGroup, context_settings=CONTEXT_SETTINGS)
def vertex() -> None:
    """Run one vertex of a pipeline; engines start this program."""


@vertex.command()
@click.option("--channel", "-cn", default="ad:image", show_default=True, help="pvAccess channel of the detector.")
@click.option("--model", help="Crop and bin frames for this model bundle.  [default: ptychonn2-sim]")
@click.option("--raw", is_flag=True, help="Publish frames unchanged, without cropping or binning.")
@click.option(
    "--ring-mib",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="Memory for frames while the buffer is full, in MiB.",
)
@click.option(
    "--positions", type=click.Path(path_type=Path), help="Scan file (.csv or .npz) with a position in m for each frame."
)
@click.option("--position-channel", help="pvAccess channel with positions that arrive after their frames.")
@click.option("--x-attribute", default="x_position", show_default=True, help="Image attribute with x in m.")
@click.option("--y-attribute", default="y_position", show_default=True, help="Image attribute with y in m.")
@click.option("--scan-attribute", default="scan_id", show_default=True, help="Image attribute with the scan's name.")
def source(
    channel: str,
    model: str | None,
    raw: bool,
    ring_mib: int,
    positions: Path | None,
    position_channel: str | None,
    x_attribute: str,
    y_attribute: str,
    scan_attribute: str,
) -> None:
    """Publish the frames of a detector's channel."""
    settings = _start()
    if raw and model is not None:
        raise UsageError("--raw publishes frames unchanged: remove --model, or --raw to crop and bin for it")
    options = SourceSettings(
        channel=channel,
        model=None if raw else (model or "ptychonn2-sim"),
        ring_bytes=ring_mib * 2**20,
        positions=positions,
        position_channel=position_channel,
        x_attribute=x_attribute,
        y_attribute=y_attribute,
        scan_attribute=scan_attribute,
    )
    _run(make_source(options, settings), settings)


@vertex.command()
@click.option("--model", default="ptychonn2-sim", show_default=True, help="Model bundle: a name or a folder.")
@click.option("--backend", default="openvino", show_default=True, help="openvino, onnxruntime or cuda.")
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Number of CPU threads; 0 uses half of the cores.",
)
@click.option(
    "--linger-ms",
    type=FiniteRange(0),
    default=2.0,
    show_default=True,
    help="Maximum time to wait for a batch to fill, in ms.",
)
@click.option(
    "--slow-ms",
    type=FiniteRange(0),
    default=0.0,
    show_default=True,
    help="Delay each batch by this time in ms, to test scaling.",
)
def inference(model: str, backend: str, threads: int, linger_ms: float, slow_ms: float) -> None:
    """Reconstruct a patch from each frame."""
    settings = _start()
    options = InferenceSettings(
        model=model, backend=backend, threads=threads, linger_s=linger_ms / 1e3, delay_s=slow_ms / 1e3
    )
    _run(make_inference(options, settings), settings)


@vertex.command("image-sink")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Folder for results.  [default: $CHARON_OUTPUT, otherwise /data]",
)
@click.option("--model", help="Weight patches by the illumination in this model bundle's card.")
@click.option("--viewer-channel", help="Publish the stitched image on this pvAccess channel.")
@click.option(
    "--viewer-period",
    type=FiniteRange(0),
    default=1.0,
    show_default=True,
    help="Minimum time between two published images, in seconds.",
)
@click.option("--no-fsync", is_flag=True, help="Do not wait for the disk; a power failure can lose the last patches.")
def image_sink(
    output: Path | None, model: str | None, viewer_channel: str | None, viewer_period: float, no_fsync: bool
) -> None:
    """Stitch patches, store them and publish the image."""
    settings = _start()
    options = ImageSinkSettings(
        output=output or settings.output,
        model=model,
        viewer_channel=viewer_channel,
        viewer_period_s=viewer_period,
        fsync=not no_fsync,
    )
    with ExitStack() as exit_stack:
        _run(make_image_sink(options, settings, exit_stack), settings)


@vertex.command("log-sink")
@click.option("--quiet", is_flag=True, help="Count patches; log a line for each at level DEBUG only.")
def log_sink(quiet: bool) -> None:
    """Log a line for each patch."""
    settings = _start()
    _run(make_log_sink(quiet=quiet), settings)


def _start() -> EmbeddedSettings | NumaflowSettings:
    """Return the settings of this process and configure its log.

    Raises
    ------
    UsageError
        If no engine has started the process, or a variable is missing or invalid.
    """
    settings = read_vertex_settings()
    logging.basicConfig(
        level=settings.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    return settings


def _run(role: Role, settings: EmbeddedSettings | NumaflowSettings) -> None:
    """Run a vertex on the engine that started this process."""
    if isinstance(settings, NumaflowSettings):
        from charon.engines.numaflow import work as work_on_numaflow  # noqa: PLC0415 - only the engine in use

        asyncio.run(work_on_numaflow(role, settings))
    else:
        from charon.engines.embedded import work  # noqa: PLC0415 - imports NATS

        asyncio.run(work(role, settings))


def main() -> None:
    """Run charon-vertex; exit with status 2 for a usage error, after which the engine does not restart it."""
    sys.exit(run_command(vertex, None))


if __name__ == "__main__":
    main()
