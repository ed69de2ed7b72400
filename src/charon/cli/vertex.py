"""charon-vertex: the one entry point of every vertex's process, on any engine."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charon.cli.assembly import SourceOptions, make_image_sink, make_inference, make_log_sink, make_source
from charon.cli.exit_status import run_command
from charon.errors import UsageError

if TYPE_CHECKING:
    from charon.vertices.roles import Role

_log = logging.getLogger("charon")
_WHOLE = {"NUMAFLOW_REPLICA": 0, "CHARON_REPLICA": 0, "CHARON_READ_BATCH_SIZE": 1}
"""Variables that hold a whole number, and the least that each may be."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def vertex() -> None:
    """One vertex of a pipeline; started by an engine."""
    _check_numbers()
    _take_names()
    logging.basicConfig(
        level=_level(os.environ.get("CHARON_LOG", "INFO")),
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


@vertex.command()
@click.option("--channel", "-cn", default="ad:image", show_default=True, help="pvAccess channel of the detector.")
@click.option("--model", help="Crop and bin as this model bundle needs it.")
@click.option("--raw", is_flag=True, help="Pass frames on as they come, neither cropped nor binned.")
@click.option("--ring-mib", default=256, show_default=True, help="Memory for frames that wait for the buffer.")
@click.option("--positions", type=click.Path(path_type=Path), help="Scan file: positions (m) by frame, .csv or .npz.")
@click.option("--position-channel", help="pvAccess channel of positions that come late.")
@click.option("--x-attribute", default="x_position", show_default=True, help="Attribute with x in m.")
@click.option("--y-attribute", default="y_position", show_default=True, help="Attribute with y in m.")
@click.option("--scan-attribute", default="scan_id", show_default=True, help="Attribute that names the scan.")
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
    """Read a detector's channel and hand its frames to the buffer."""
    options = SourceOptions(
        channel=channel,
        model=None if raw else (model or "ptychonn2-sim"),
        ring_bytes=ring_mib * 2**20,
        positions=positions,
        position_channel=position_channel,
        attributes=(x_attribute, y_attribute, scan_attribute),
    )
    _run(make_source(options))


@vertex.command()
@click.option("--model", default="ptychonn2-sim", show_default=True, help="Model bundle: a name or a folder.")
@click.option("--backend", default="openvino", show_default=True, help="openvino, onnxruntime or cuda.")
@click.option("--threads", default=0, help="Threads on the CPU; 0 takes half of its cores.")
@click.option("--linger-ms", default=2.0, show_default=True, help="Wait at most this long for a batch to grow.")
@click.option("--slow-ms", default=0.0, help="Slow each batch down: for trials of scaling.")
def inference(model: str, backend: str, threads: int, linger_ms: float, slow_ms: float) -> None:
    """Turn frames into patches."""
    _run(make_inference(model, backend, threads, linger_s=linger_ms / 1e3, slow_s=slow_ms / 1e3))


@vertex.command("image-sink")
@click.option("--output", type=click.Path(path_type=Path), envvar="CHARON_OUTPUT", default="/data", help="Folder.")
@click.option("--model", help="Weight patches by the illumination that this model bundle's card tells.")
@click.option("--viewer-channel", help="Publish the stitched image on this pvAccess channel.")
@click.option("--viewer-period", default=1.0, show_default=True, help="Seconds between its updates.")
@click.option("--no-fsync", is_flag=True, help="Do not wait for the disk: a power cut may then cost the last patches.")
def image_sink(
    output: Path, model: str | None, viewer_channel: str | None, viewer_period: float, no_fsync: bool
) -> None:
    """Stitch patches, store them, show the image."""
    if int(os.environ.get("CHARON_REPLICA", "0")) > 0:
        raise UsageError(
            f"vertex {os.environ.get('CHARON_VERTEX', '')!r}: an image sink has the whole image and no second replica;"
            " let its scale.min be 1"
        )

    _run(make_image_sink(output, model, viewer_channel, viewer_period, fsync=not no_fsync))


@vertex.command("log-sink")
@click.option("--quiet", is_flag=True, help="Count, but write no line for each patch.")
def log_sink(quiet: bool) -> None:
    """Write a line for each patch."""
    _run(make_log_sink(quiet=quiet))


def _check_numbers() -> None:
    for name, least in _WHOLE.items():
        text = os.environ.get(name, str(least))
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise UsageError(f"{name} is {text!r}: it takes a whole number from {least} up")


def _level(name: str) -> str:
    if name not in logging.getLevelNamesMapping():
        raise UsageError(f"CHARON_LOG is {name!r}: it takes one of {', '.join(logging.getLevelNamesMapping())}")
    return name


def _take_names() -> None:
    """Call the run, the vertex and the replica what Numaflow calls them, unless they have names."""
    for ours, theirs in (("RUN", "PIPELINE_NAME"), ("VERTEX", "VERTEX_NAME"), ("REPLICA", "REPLICA")):
        name = os.environ.get(f"NUMAFLOW_{theirs}")
        if name:
            os.environ.setdefault(f"CHARON_{ours}", name)


def _run(role: Role) -> None:
    """Run a vertex on the engine that started this process.

    Raises
    ------
    UsageError
        If no engine did.
    """
    from charon.engines.numaflow import NumaflowSettings, started_by_numaflow  # noqa: PLC0415 - only the engine in use

    if started_by_numaflow():
        from charon.engines.numaflow import work as work_on_numaflow  # noqa: PLC0415 - only the engine in use

        asyncio.run(work_on_numaflow(role, NumaflowSettings.from_environment()))
    elif os.environ.get("CHARON_ENGINE") == "embedded":
        from charon.engines.embedded import VertexSettings, work  # noqa: PLC0415 - imports NATS

        asyncio.run(work(role, VertexSettings.from_environment()))
    else:
        raise UsageError("charon-vertex is started by an engine: charonctl run FILE --local, or Numaflow")


def main() -> None:
    """Run charon-vertex; exit with 2 for a wrong call, so that the engine does not try again."""
    sys.exit(run_command(vertex, None))


if __name__ == "__main__":
    main()
