"""Connect vertices with their adapters.

Apart from the image sink, which uses storage directly, no vertex imports an adapter.
"""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from charon.adapters.inference import open_backend
from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.errors import BadFrameError, UsageError
from charon.ledger.frame_log import FrameLog
from charon.science.preprocess import Geometry
from charon.vertices.inference import InferenceVertex, ModelInfo
from charon.vertices.roles import InferenceRole, SinkRole, SourceRole
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.sinks.vertex import SinkVertex
from charon.vertices.source import SourceVertex

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from charon.adapters.inference.bundle import Bundle
    from charon.adapters.pvaccess import AttributeNames, PositionMonitor, RawUpdate
    from charon.frames import Frame, FrameId, Position, Scalar
    from charon.settings.roles import ImageSinkSettings, InferenceSettings, SourceSettings
    from charon.settings.vertex import VertexSettings
    from charon.vertices.sinks.sink import Sink

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _NamedUpdate:
    """An update of the detector's channel, decoded with the configured attribute names."""

    raw: RawUpdate
    names: AttributeNames

    @property
    def received_ns(self) -> int:
        return self.raw.received_ns

    def identify(self) -> FrameId:
        return self.raw.identify()

    def frame(self) -> Frame:
        return self.raw.frame(self.names)


def make_source(options: SourceSettings, settings: VertexSettings) -> SourceRole:
    """Return a source that reads a pvAccess channel."""
    from charon.adapters.pvaccess import AttributeNames, FrameMonitor  # noqa: PLC0415 - imports PvaPy

    names = AttributeNames(x=options.x_attribute, y=options.y_attribute, scan=options.scan_attribute)
    vertex = SourceVertex(
        options.channel,
        geometry=None if options.model is None else geometry_of(open_bundle(options.model)),
        ring_bytes=options.ring_bytes,
        positions=None if options.positions is None else positions_from(options.positions),
        frame_log=open_frame_log(settings),
    )

    @contextmanager
    def monitoring() -> Generator[None]:
        with ExitStack() as stack:
            monitor = FrameMonitor(
                options.channel, lambda raw: vertex.on_update(_NamedUpdate(raw, names)), vertex.on_state
            )
            monitor.start()
            stack.callback(monitor.stop)
            if options.position_channel:
                positions = _position_monitor(options.position_channel, vertex)
                positions.start()
                stack.callback(positions.stop)
            yield

    return SourceRole(vertex, [monitoring()])


def _position_monitor(channel: str, vertex: SourceVertex) -> PositionMonitor:
    from charon.adapters.pvaccess import PositionMonitor, RawPosition  # noqa: PLC0415 - imports PvaPy

    def on_update(raw: RawPosition) -> None:
        try:
            vertex.on_position(raw.position())
        except BadFrameError as error:
            vertex.stats.warn(f"ignored a position: {error.detail}")

    def on_state(connected: bool) -> None:
        _log.info("channel %s is %s", channel, "connected" if connected else "disconnected")

    return PositionMonitor(channel, vertex.channel, on_update, on_state)


def make_inference(options: InferenceSettings, settings: VertexSettings) -> InferenceRole:
    """Return inference with the network of a model bundle."""
    bundle = open_bundle(options.model)
    card = bundle.card
    amplitude = next((output.name for output in card.outputs if output.kind == "amplitude"), None)
    info = ModelInfo(
        name=f"{card.name}@{card.version}",
        input_shape=card.input.shape,
        pixel_m=card.patch.pixel_m,
        phase=next(output.name for output in card.outputs if output.kind == "phase"),
        amplitude=amplitude,
    )
    # The other half of the cores is for the detector's frames, the buffers and the sinks.
    threads = options.threads or max(1, (os.cpu_count() or 1) // 2)
    vertex = InferenceVertex(
        open_backend(options.backend, bundle.model_path, threads=threads),
        info,
        run=settings.run,
        max_batch=settings.read_batch_size,
        linger_s=options.linger_s,
        delay_s=options.delay_s,
        frame_log=open_frame_log(settings),
    )
    return InferenceRole(vertex)


def make_image_sink(options: ImageSinkSettings, settings: VertexSettings, exit_stack: ExitStack) -> SinkRole:
    """Return the sink that stitches and stores patches and publishes the image.

    Parameters
    ----------
    options, settings
        Settings of the sink and of the vertex's process.
    exit_stack
        Closes the viewer channel; the caller closes the stack when the role has ended.

    Raises
    ------
    UsageError
        If the vertex has more than one replica.
    """
    from charon.vertices.sinks.image_refresh import RefreshIntervals  # noqa: PLC0415 - imports Pillow
    from charon.vertices.sinks.image_sink import ImageSink  # noqa: PLC0415 - imports HDF5

    if settings.replica > 0:
        raise UsageError(
            f"vertex {settings.vertex!r}: an image sink stitches one image and cannot have several replicas;"
            " set its scale.min to 1"
        )
    provenance = {"manifest": settings.manifest} if settings.manifest else {}

    def open_sink() -> Sink:
        patch = None if options.model is None else open_bundle(options.model).card.patch
        return ImageSink(
            options.output,
            run=settings.run,
            publish=exit_stack.enter_context(serve_viewer(options.viewer_channel)) if options.viewer_channel else None,
            intervals=RefreshIntervals(viewer_s=options.viewer_period_s),
            fsync="batch" if options.fsync else "off",
            weight_radius_m=None if patch is None else patch.weight_radius_m,
            weight_profile=None if patch is None else patch.weight_profile,
            provenance=provenance,
            frame_log=frame_log_path(settings),
        )

    return SinkRole(SinkVertex(open_sink))


def make_log_sink(*, quiet: bool) -> SinkRole:
    """Return the sink that logs a line for each patch; if quiet, only at level DEBUG."""
    return SinkRole(SinkVertex(partial(LogSink, quiet=quiet), linger_s=0.1))


def open_frame_log(settings: VertexSettings) -> FrameLog | None:
    """Open the frame log of a replica; return None if it writes none.

    Raises
    ------
    UnavailableError
        If the file cannot be written.
    """
    path = frame_log_path(settings)
    return None if path is None else FrameLog(path)


def frame_log_path(settings: VertexSettings) -> Path | None:
    """Return the file of a replica's frame log; None if it writes none."""
    return None if settings.frame_log is None else settings.frame_log / f"{settings.page}.bin"


def open_bundle(model: str) -> Bundle:
    """Load a model bundle.

    Raises
    ------
    UsageError
        If the bundle is missing, damaged or invalid.
    """
    try:
        return load_bundle(model)
    except BundleError as error:
        raise UsageError(str(error)) from error


def geometry_of(bundle: Bundle) -> Geometry:
    """Return the crop and binning of a bundle's network."""
    card = bundle.card.input
    return Geometry(card.detector_shape, card.crop, card.binning)


def positions_from(path: Path) -> Callable[[FrameId], Position | None]:
    """Return a function that looks up a frame's position in a scan file.

    Raises
    ------
    UsageError
        If the file is unreadable or contains no positions.
    """
    from charon.adapters.recordings import read_positions  # noqa: PLC0415 - imports HDF5

    positions = read_positions(path)

    def position(frame_id: FrameId) -> Position | None:
        # areaDetector numbers the frames of an acquisition from 1 (PvaPy's simulator from 0).
        index = frame_id.unique_id - 1
        if not 0 <= index < len(positions):
            return None
        return float(positions[index, 0]), float(positions[index, 1])

    return position


@contextmanager
def serve_viewer(channel: str) -> Generator[Callable[..., None]]:
    """Serve a pvAccess channel and yield the function that publishes an image on it."""
    from charon.adapters.pvaccess import ImageServer  # noqa: PLC0415 - imports PvaPy

    with ImageServer([channel]) as server:

        def publish(image: NDArray[np.float32], unique_id: int, time_ns: int, attributes: Mapping[str, Scalar]) -> None:
            server.post(channel, image, unique_id=unique_id, time_ns=time_ns, attributes=attributes)

        yield publish
