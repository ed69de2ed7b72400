"""Options of ``charonctl detector``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charon.cli.parameters import FiniteRange, Numbers, Shape, is_set
from charon.cli.registry import CONTEXT_SETTINGS
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

_DATATYPES = [*(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"]
_INPUT_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)
_INPUT_FOLDER = click.Path(path_type=Path, file_okay=False, exists=True)
_OUTPUT_FILE = click.Path(path_type=Path, dir_okay=False)


# --n-x-pixels, --n-y-pixels and --datatype are accepted, as by pvapy-ad-sim-server.
_SIMULATION_ONLY = ("sample", "scan", "step", "shape", "points", "flux", "dead_pixels", "saturation", "seed")
_REPLAY_ONLY = ("hdf_dataset", "positions", "fftshift")


def _options(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_PUBLISHING = _options(
    click.option(
        "-cn", "--channel-name", default="ad:image", show_default=True, help="pvAccess channel of the images."
    ),
    click.option(
        "-fps",
        "--frame-rate",
        type=FiniteRange(0, min_open=True),
        default=100.0,
        show_default=True,
        help="Frames per second.",
    ),
    click.option("-nf", "--n-frames", type=click.IntRange(1), help="Number of frames; the scan repeats if necessary."),
    click.option("-rt", "--runtime", type=FiniteRange(0, min_open=True), help="Time limit in seconds."),
    click.option(
        "--repeat",
        "--loop",
        type=click.IntRange(0),
        help="Number of passes over the scan; 0 repeats until stopped.  [default: 1, or 0 with --runtime]",
    ),
    click.option(
        "-cs",
        "--cache-size",
        type=click.IntRange(1),
        default=1000,
        show_default=True,
        help="Maximum number of prepared frames in memory.",
    ),
    click.option(
        "--prepare-time",
        type=FiniteRange(0),
        default=3.0,
        show_default=True,
        help="Maximum time to prepare frames before the first is published, in seconds.",
    ),
    click.option("--prepare-all", is_flag=True, help="Prepare all frames before the first is published."),
    click.option(
        "-std",
        "--start-delay",
        type=FiniteRange(0),
        default=0.0,
        show_default=True,
        help="Delay before the first frame, in seconds.",
    ),
    click.option(
        "-shd",
        "--shutdown-delay",
        type=FiniteRange(0),
        default=1.0,
        show_default=True,
        help="Delay after the last frame, in seconds.",
    ),
    click.option(
        "-rp",
        "--report-period",
        type=int,
        default=500,
        show_default=True,
        help="Frames between progress messages; 0 disables them.",
    ),
    click.option(
        "--wait-for-client/--no-wait",
        default=True,
        show_default=True,
        help="Wait for a client before the first frame is published.",
    ),
    click.option(
        "--clients",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Number of clients to wait for, such as the replicas of the source.",
    ),
    click.option(
        "--client-delay",
        type=FiniteRange(0),
        show_default="0.5, or 2.5 with --position-channel",
        help="Delay in seconds between the connection of the clients and the first frame.",
    ),
    click.option("--codec", type=click.Choice(["lz4", "bslz4", "blosc"]), help="Compress the images."),
    click.option("--scan-id", default="scan-1", show_default=True, help="Name of the scan (attribute scan_id)."),
)
_SIMULATION = _options(
    click.option(
        "-nx", "--n-x-pixels", type=click.IntRange(1), default=512, show_default=True, help="Columns of a frame."
    ),
    click.option(
        "-ny", "--n-y-pixels", type=click.IntRange(1), default=512, show_default=True, help="Rows of a frame."
    ),
    click.option(
        "-dt", "--datatype", type=click.Choice(_DATATYPES), default="int16", show_default=True, help="Pixel type."
    ),
    click.option(
        "--sample",
        type=click.Choice(["chart", "star", "tungsten", "noise"]),
        default="chart",
        show_default=True,
        help="Simulated sample; noise publishes random counts instead.",
    ),
    click.option(
        "--scan", default="snake", show_default=True, help="raster, snake or spiral, or a file of scan positions."
    ),
    click.option(
        "--step",
        type=FiniteRange(0, min_open=True),
        default=0.1e-6,
        show_default=True,
        help="Distance between scan points in m.",
    ),
    click.option(
        "--shape",
        type=Shape("LINESxPOINTS"),
        help="Lines and points per line of a raster or snake.  [default: 48x48]",
    ),
    click.option("--points", type=click.IntRange(1), help="Number of scan points, instead of --shape."),
    click.option(
        "--flux", type=FiniteRange(0, min_open=True), default=1e6, show_default=True, help="Photons per frame."
    ),
    click.option(
        "--dead-pixels",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Number of pixels that always read 0.",
    ),
    click.option("--saturation", type=click.IntRange(1), help="Maximum count of a pixel.  [default: not limited]"),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Random seed for noise, sample and dead pixels."
    ),
)
_REPLAY = _options(
    click.option("-if", "--input-file", type=_INPUT_FILE, help="Replay a recording: .npy, .npz, .npz.bz2, HDF5, CXI."),
    click.option(
        "-id", "--input-directory", type=_INPUT_FOLDER, help="Replay all recordings in a folder, sorted by name."
    ),
    click.option("-hds", "--hdf-dataset", help="Name of the array of frames.  [default: a common name, such as data]"),
    click.option("--positions", type=_INPUT_FILE, help="Scan positions of a recording: CSV or a file of arrays."),
    click.option(
        "--position-scale",
        type=float,
        default=1.0,
        show_default=True,
        help="Length of the unit of recorded positions, in m (1e-6 for micrometres).",
    ),
    click.option(
        "--position-order",
        type=click.Choice(["xy", "yx"]),
        help="Column order of recorded positions.  [default: depends on the file]",
    ),
    click.option("--fftshift", is_flag=True, help="Shift zero frequency from pixel (0, 0) to the centre."),
)
_FAULTS = _options(
    click.option(
        "--drop", type=Numbers(), default=frozenset[int](), help="Frames to omit, by number, such as 7,10-12."
    ),
    click.option(
        "--bad",
        multiple=True,
        metavar="FAULT@NUMBERS",
        help="Frames to corrupt, by number, such as nan@7,10-12; repeatable. "
        "Faults: shape, truncated, codec, nan, empty, colour.",
    ),
    click.option(
        "--restart-at",
        type=click.IntRange(2),
        help="Simulate a detector restart before this frame; uniqueId starts again.",
    ),
    click.option(
        "--restart-pause",
        type=FiniteRange(0),
        default=1.0,
        show_default=True,
        help="Duration of the simulated restart, in seconds.",
    ),
    click.option("--position-channel", help="Publish positions on this channel instead of as attributes."),
    click.option(
        "--position-delay",
        type=FiniteRange(0),
        default=0.05,
        show_default=True,
        help="Delay of positions on their own channel, in seconds.",
    ),
)
_REPORTS = _options(
    click.option("--report", type=_OUTPUT_FILE, help="Write the uniqueIds of the published frames to a JSON file."),
    click.option(
        "--frame-log",
        type=_OUTPUT_FILE,
        help="Append a record of each published frame to this file: uniqueId, time stamp, time after its publication.",
    ),
    click.option("--truth", type=_OUTPUT_FILE, help="Write the simulated object to an .npz file."),
)


@click.command(context_settings=CONTEXT_SETTINGS)
@_PUBLISHING
@_SIMULATION
@_REPLAY
@_FAULTS
@_REPORTS
@click.pass_context
def detector(ctx: click.Context, **options: Any) -> None:  # noqa: ANN401 - the fields of Settings
    """Publish frames of a simulated experiment or a recording over pvAccess.

    Frames are NTNDArrays with the scan position (x_position, y_position, in m) and the scan (scan_id) as
    attributes. They are prepared in advance and published on time. Options shared with pvapy-ad-sim-server have
    the same names.
    """
    from charon.cli.detector.run import run  # noqa: PLC0415 - imports NumPy and PvaPy
    from charon.cli.detector.settings import Settings  # noqa: PLC0415 - imports NumPy and PvaPy

    _check_combinations(ctx)
    run(Settings(**options))


def _check_combinations(ctx: click.Context) -> None:
    """Check that no option is given that has no effect.

    Raises
    ------
    UsageError
        If an option has no effect with the others.
    """
    replay = is_set(ctx, "input_file") or is_set(ctx, "input_directory")
    for name in _SIMULATION_ONLY if replay else _REPLAY_ONLY:
        if is_set(ctx, name):
            option = f"--{name.replace('_', '-')}"
            remedy = "has no effect on a recording; remove it" if replay else "requires --input-file"
            raise UsageError(f"{option} {remedy}")
    if is_set(ctx, "shape") and is_set(ctx, "points"):
        raise UsageError("--shape and --points exclude each other; remove one")
    if is_set(ctx, "shape") and ctx.params["scan"] not in {"raster", "snake"}:
        raise UsageError("--shape requires --scan raster or snake; use --points for the number of scan points")
    if is_set(ctx, "clients") and not ctx.params["wait_for_client"]:
        raise UsageError("--clients and --no-wait exclude each other; remove one")
    if is_set(ctx, "client_delay") and not ctx.params["wait_for_client"]:
        raise UsageError("--client-delay and --no-wait exclude each other; remove one")
    if is_set(ctx, "position_delay") and not is_set(ctx, "position_channel"):
        raise UsageError("--position-delay requires --position-channel")
