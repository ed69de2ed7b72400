"""What ``charonctl detector`` takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charon.cli.parameters import GridShape, Numbers
from charon.cli.registry import CONTEXT_SETTINGS

if TYPE_CHECKING:
    from collections.abc import Callable

_FILE = click.Path(path_type=Path, dir_okay=False)
_TYPES = [*(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)), "float32", "float64"]
_HERE = click.Path(path_type=Path, dir_okay=False, exists=True)


def _options(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_STREAM = _options(
    click.option("-cn", "--channel-name", default="ad:image", show_default=True, help="Channel of the images."),
    click.option("-fps", "--frame-rate", type=click.FloatRange(0, min_open=True), default=100.0, show_default=True),
    click.option("-nf", "--n-frames", type=click.IntRange(1), help="Publish so many frames, the scan over and over."),
    click.option("-rt", "--runtime", type=click.FloatRange(0, min_open=True), help="Publish for so many seconds."),
    click.option("--repeat", "--loop", type=click.IntRange(0), help="Publish the scan so often; 0: until stopped."),
    click.option("-cs", "--cache-size", type=click.IntRange(1), default=1000, show_default=True, help="Frames held."),
    click.option(
        "--prepare-time", type=click.FloatRange(0), default=3.0, help="Seconds to make frames ahead, at most."
    ),
    click.option("--prepare-all", is_flag=True, help="Make every frame before the first is published."),
    click.option(
        "-std", "--start-delay", type=click.FloatRange(0), default=0.0, help="Seconds before the first frame."
    ),
    click.option("-shd", "--shutdown-delay", type=click.FloatRange(0), default=1.0, help="Seconds after the last."),
    click.option("-rp", "--report-period", type=int, default=500, help="Frames between lines of progress; 0: none."),
    click.option("--wait-for-client/--no-wait", default=True, help="Hold the first frame for a client."),
    click.option("--codec", type=click.Choice(["lz4", "bslz4", "blosc"]), help="Compress the images."),
    click.option("--scan-id", default="scan-1", show_default=True, help="Name of the scan, an attribute of frames."),
)
_SIMULATION = _options(
    click.option("-nx", "--n-x-pixels", type=click.IntRange(1), default=512, show_default=True),
    click.option("-ny", "--n-y-pixels", type=click.IntRange(1), default=512, show_default=True),
    click.option("-dt", "--datatype", type=click.Choice(_TYPES), default="int16", show_default=True),
    click.option("--sample", type=click.Choice(["chart", "star", "tungsten", "noise"]), default="chart"),
    click.option("--scan", default="snake", show_default=True, help="raster, snake, spiral, or a file of positions."),
    click.option("--step", type=float, default=0.1e-6, show_default=True, help="Between scan points, in m."),
    click.option("--shape", type=GridShape(), help="Lines x points of a raster or snake.  [default: 48x48]"),
    click.option("--points", type=click.IntRange(1), help="Number of scan points, instead of a shape."),
    click.option("--flux", type=click.FloatRange(0, min_open=True), default=1e6, help="Photons a frame."),
    click.option("--dead-pixels", type=click.IntRange(0), default=0, help="Pixels that always read 0."),
    click.option("--saturation", type=click.IntRange(1), help="Largest count of a pixel."),
    click.option("--seed", type=int, default=0, show_default=True, help="Of noise, sample and dead pixels."),
)
_REPLAY = _options(
    click.option("-if", "--input-file", type=_HERE, help="Replay a recording: .npy, .npz, .npz.bz2, HDF5, CXI."),
    click.option("-id", "--input-directory", type=click.Path(path_type=Path, file_okay=False, exists=True)),
    click.option("-hds", "--hdf-dataset", help="Array of the frames, where its name is not one of the usual."),
    click.option("--positions", type=_HERE, help="Positions of a recording: CSV or a file of arrays."),
    click.option("--position-scale", type=float, default=1.0, help="Metres in a unit of recorded positions."),
    click.option("--position-order", type=click.Choice(["xy", "yx"]), help="Columns of recorded positions."),
    click.option("--fftshift", is_flag=True, help="The recording has zero frequency at pixel (0, 0)."),
)
_FAULTS = _options(
    click.option("--drop", type=Numbers(), default=frozenset[int](), help="Never publish these: 7,10-12."),
    click.option("--bad", multiple=True, metavar="KIND@NUMBERS", help="Publish faulty frames: truncated@7,10-12."),
    click.option("--restart-at", type=click.IntRange(2), help="Restart before this frame: uniqueId begins again."),
    click.option("--restart-pause", type=click.FloatRange(0), default=1.0, help="Seconds that a restart takes."),
    click.option("--position-channel", help="Publish positions here, not as attributes of the frames."),
    click.option("--position-delay", type=click.FloatRange(0), default=0.05, help="Seconds behind their frames."),
)
_FILES = _options(
    click.option("--report", type=_FILE, help="Write what was published, by id, as JSON."),
    click.option("--truth", type=_FILE, help="Write the simulated object, as .npz."),
)


@click.command(context_settings=CONTEXT_SETTINGS)
@_STREAM
@_SIMULATION
@_REPLAY
@_FAULTS
@_FILES
def detector(**given: Any) -> None:  # noqa: ANN401 - as named above
    """Publish frames over pvAccess: a simulated experiment, or a recording.

    Frames are NTNDArrays with their scan position (x_position, y_position, in m) and scan (scan_id) as
    attributes. They leave at their times, made ahead where that is needed. The names of the options are
    those of pvapy-ad-sim-server.
    """
    from charon.cli.detector.run import run  # noqa: PLC0415 - imports NumPy and PvaPy
    from charon.cli.detector.settings import Settings  # noqa: PLC0415 - imports NumPy and PvaPy

    run(Settings(**given))
