"""Puts vertices together with the adapters they work with: the one place that knows both."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from charon.adapters.inference import open_backend
from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.errors import BadFrameError, UsageError
from charon.science.preprocess import Geometry
from charon.vertices.inference import InferenceVertex, ModelInfo
from charon.vertices.roles import InferenceRole, SinkRole, SourceRole
from charon.vertices.sinks.log_sink import LogSink
from charon.vertices.sinks.vertex import SinkVertex
from charon.vertices.source.vertex import SourceVertex

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from charon.adapters.inference.bundle import Bundle
    from charon.adapters.pvaccess import PositionMonitor
    from charon.frames import Frame, FrameId, Position, Scalar
    from charon.vertices.sinks.sink import Sink


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """Options of the source; see ``charon-vertex source --help``."""

    channel: str
    model: str | None
    ring_bytes: int
    positions: Path | None
    position_channel: str | None
    attributes: tuple[str, str, str]


def make_source(options: SourceOptions) -> SourceRole:
    """Return a source that reads a pvAccess channel."""
    from charon.adapters.pvaccess import AttributeNames, FrameMonitor, RawUpdate  # noqa: PLC0415 - imports PvaPy

    # A detector that binds to loopback, as ours does by default, does not hear a broadcast.
    os.environ.setdefault("EPICS_PVA_ADDR_LIST", "127.0.0.1")
    x, y, scan = options.attributes
    names = AttributeNames(x=x, y=y, scan=scan)

    @dataclass(frozen=True, slots=True)
    class Named:
        raw: RawUpdate

        @property
        def received_ns(self) -> int:
            return self.raw.received_ns

        def identify(self) -> FrameId:
            return self.raw.identify()

        def frame(self) -> Frame:
            return self.raw.frame(names)

    vertex = SourceVertex(
        options.channel,
        geometry=None if options.model is None else geometry_of(load(options.model)),
        ring_bytes=options.ring_bytes,
        positions=None if options.positions is None else positions_from(options.positions),
    )

    @contextmanager
    def monitoring() -> Generator[None]:
        with ExitStack() as stack:
            monitor = FrameMonitor(options.channel, lambda raw: vertex.on_update(Named(raw)), vertex.on_state)
            monitor.start()
            stack.callback(monitor.stop)
            if options.position_channel:
                late = _position_monitor(options.position_channel, vertex)
                late.start()
                stack.callback(late.stop)
            yield

    return SourceRole(vertex, [monitoring()])


def _position_monitor(channel: str, vertex: SourceVertex) -> PositionMonitor:
    from charon.adapters.pvaccess import PositionMonitor, RawPosition  # noqa: PLC0415 - imports PvaPy

    def take(raw: RawPosition) -> None:
        try:
            vertex.on_position(raw.position())
        except BadFrameError as error:
            vertex.stats.warn(f"passed over: {error.detail}")

    def tell(connected: bool) -> None:
        logging.getLogger(__name__).info("channel %s %s", channel, "is connected" if connected else "is not there")

    return PositionMonitor(channel, vertex.channel, take, tell)


def make_inference(model: str, backend: str, threads: int, *, linger_s: float, slow_s: float) -> InferenceRole:
    """Return inference with a model bundle's network."""
    bundle = load(model)
    card = bundle.card
    amplitude = next((output.name for output in card.outputs if output.kind == "amplitude"), None)
    info = ModelInfo(
        name=f"{card.name}@{card.version}",
        input_shape=card.input.shape,
        pixel_m=card.patch.pixel_m,
        phase=next(output.name for output in card.outputs if output.kind == "phase"),
        amplitude=amplitude,
    )
    vertex = InferenceVertex(
        # The other half is for the detector's frames, the buffers and the sinks.
        open_backend(backend, bundle.model_path, threads=threads or max(1, (os.cpu_count() or 1) // 2)),
        info,
        run=os.environ.get("CHARON_RUN", "run"),
        max_batch=int(os.environ.get("CHARON_READ_BATCH_SIZE", "8")),
        linger_s=linger_s,
        slow_s=slow_s,
    )
    return InferenceRole(vertex)


def make_image_sink(
    output: Path, model: str | None, viewer_channel: str | None, viewer_period_s: float, *, fsync: bool
) -> SinkRole:
    """Return the sink that stitches, stores and shows."""
    from charon.vertices.sinks.image_sink import ImageSink  # noqa: PLC0415 - imports HDF5

    manifest = os.environ.get("CHARON_MANIFEST")
    provenance = {"manifest": manifest} if manifest else {}

    def open_sink() -> Sink:
        patch = None if model is None else load(model).card.patch
        publish = None
        if viewer_channel:
            publish = viewer(viewer_channel)
        return ImageSink(
            output,
            run=os.environ.get("CHARON_RUN", "run"),
            publish=publish,
            viewer_period_s=viewer_period_s,
            fsync="batch" if fsync else "off",
            weight_radius_m=None if patch is None else patch.weight_radius_m,
            weight_profile=None if patch is None else patch.weight_profile,
            provenance=provenance,
        )

    return SinkRole(SinkVertex(open_sink))


def make_log_sink(*, quiet: bool) -> SinkRole:
    """Return the sink that writes a line for each patch."""
    if quiet:
        logging.getLogger("charon.vertices.sinks.log_sink").setLevel(logging.WARNING)
    return SinkRole(SinkVertex(LogSink, forgets=True, linger_s=0.1))


def load(model: str) -> Bundle:
    """Load a model bundle.

    Raises
    ------
    UsageError
        If it is not there, damaged or of another form.
    """
    try:
        return load_bundle(model)
    except BundleError as error:
        raise UsageError(str(error)) from error


def geometry_of(bundle: Bundle) -> Geometry:
    """Return the crop and binning that a bundle's network needs."""
    card = bundle.card.input
    return Geometry(card.detector_shape, card.crop, card.binning)


def positions_from(path: Path) -> Callable[[FrameId], Position | None]:
    """Return a look-up of positions by frame from a scan file.

    Raises
    ------
    UsageError
        If the file cannot be read or holds no positions.
    """
    from charon.adapters.recordings import read_positions  # noqa: PLC0415 - imports HDF5

    positions = read_positions(path)

    def look_up(frame_id: FrameId) -> Position | None:
        # Area detectors number frames from 1 within an acquisition; pvapy's simulator from 0.
        index = frame_id.unique_id - 1
        if not 0 <= index < len(positions):
            return None
        return float(positions[index, 0]), float(positions[index, 1])

    return look_up


def viewer(channel: str) -> Callable[..., None]:
    """Return a function that publishes images on a pvAccess channel of this process."""
    from charon.adapters.pvaccess import ImageServer  # noqa: PLC0415 - imports PvaPy

    server = ImageServer([channel])
    server.__enter__()

    def publish(image: NDArray[np.float32], unique_id: int, time_ns: int, attributes: Mapping[str, Scalar]) -> None:
        server.post(channel, image, unique_id=unique_id, time_ns=time_ns, attributes=attributes)

    return publish
