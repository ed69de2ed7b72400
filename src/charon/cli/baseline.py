"""``charonctl baseline``: the PvaPy baseline, for comparison with a pipeline."""

from __future__ import annotations

import time
from pathlib import Path

import click

from charon.adapters.inference.backend import BACKENDS
from charon.errors import UsageError
from charon.settings.baseline import METRICS_PORT


@click.command()
@click.option("--local", is_flag=True, help="Run on this machine; required.")
@click.option(
    "--channel", "-cn", default="ad:image", show_default=True, metavar="NAME", help="pvAccess channel of the detector."
)
@click.option(
    "--output-channel",
    metavar="NAME",
    show_default="CHANNEL:phase",
    help="pvAccess channel for the results; with several consumers, :1, :2, ... is appended.",
)
@click.option("--model", default="ptychonn2-sim", show_default=True, help="Model bundle: a name or a folder.")
@click.option("--backend", type=click.Choice(BACKENDS), default="openvino", show_default=True, help="Back end.")
@click.option(
    "--threads",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="CPU threads of each consumer; 0 uses half of the cores.",
)
@click.option(
    "--batch", type=click.IntRange(1), default=8, show_default=True, help="Maximum number of frames in a batch."
)
@click.option(
    "--consumers", type=click.IntRange(1), default=1, show_default=True, help="Number of consumers that share frames."
)
@click.option(
    "--queue-size",
    type=click.IntRange(1),
    default=500,
    show_default=True,
    help="Updates in each consumer's receiver queue, and frames that wait for inference.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    default=METRICS_PORT,
    show_default=True,
    help="Serve metrics on this loopback port; 0 selects a free one and prints it.",
)
@click.option("--stitch", is_flag=True, help="Stitch the results with a further consumer, and write image and patches.")
@click.option("--frames", type=click.IntRange(1), help="Drain and exit after at least this number of frames.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    show_default="out/baseline/TIME",
    help="Folder for the summary, images, logs and records.",
)
@click.option("--quiet", is_flag=True, help="Print nothing until the end.")
def baseline(
    local: bool,
    channel: str,
    output_channel: str | None,
    model: str,
    backend: str,
    threads: int,
    batch: int,
    consumers: int,
    queue_size: int,
    metrics_port: int,
    stitch: bool,
    frames: int | None,
    output: Path | None,
    quiet: bool,
) -> int:
    """Reconstruct the frames of a detector with PvaPy's mirror server and consumers, without a pipeline.

    Runs until Ctrl-C, then processes the frames that the consumers have received. Every frame is counted by its
    uniqueId; frames that PvaPy loses are reported as missed.
    """
    from charon.cli.baseline_run import run_baseline  # noqa: PLC0415 - imports rich
    from charon.engines.pvapy.commands import BaselineOptions  # noqa: PLC0415 - as above

    if not local:
        raise UsageError("the baseline needs --local; on a cluster, apply workflows/aps/baseline-pvapy-ptychonn.yaml")
    folder = output or Path("out/baseline") / time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    options = BaselineOptions(
        channel=channel,
        output_channel=output_channel or f"{channel}:phase",
        model=model,
        folder=folder / "run",
        backend=backend,
        threads=threads,
        max_batch=batch,
        consumers=consumers,
        queue_size=queue_size,
        metrics_port=metrics_port,
        images=folder if stitch else None,
    )
    return run_baseline(options, folder, frames=frames, quiet=quiet)
