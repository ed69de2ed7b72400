"""Runs the detector command: from its settings to frames on the wire, and the report on them."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import click

from charon.adapters import detector, pvaccess
from charon.cli.detector.report import write_report, write_truth
from charon.cli.detector.series import make_series

if TYPE_CHECKING:
    from collections.abc import Generator

    from charon.adapters.pvaccess.pvapy import PvStructure
    from charon.cli.detector.settings import Settings

_SETTLE_S = 0.5
_SETTLE_TWO_S = 2.5
_POLL_S = 0.05


class _Output:
    """Publishes frames that were made ahead, on a server that may go away and come back."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._running = ExitStack()
        self._server: pvaccess.ImageServer | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    @property
    def server(self) -> pvaccess.ImageServer:
        if self._server is None:
            raise RuntimeError("the server is used outside its context")
        return self._server

    def post(self, item: PvStructure, unique_id: int, time_ns: int) -> None:
        pvaccess.stamp_image(item, unique_id, time_ns)
        self.server.post_structure(self._settings.channel_name, item)

    def post_bad(self, item: PvStructure, unique_id: int, time_ns: int, kind: str) -> None:
        pvaccess.stamp_image(item, unique_id, time_ns)
        self.server.post_structure(self._settings.channel_name, pvaccess.spoiled(item, kind))

    def post_position(self, position: tuple[float, float], time_ns: int) -> None:
        if self._settings.position_channel is not None:
            item = pvaccess.position_structure(position, time_ns)
            self.server.post_structure(self._settings.position_channel, item)

    def restart(self) -> None:
        _say("restarting: uniqueId begins again")
        # What was published last is on its way still.
        self._stop.wait(self._settings.shutdown_delay)
        self._running.close()
        self._stop.wait(self._settings.restart_pause)
        self._start()
        if self._settings.wait_for_client:
            self.wait_for_client()

    def wait_for_client(self) -> None:
        _say(f"waiting for a client of {self._settings.channel_name}")
        while not (self.server.has_client() or self._stop.wait(_POLL_S)):
            pass
        # A client that has connected still has to set up its monitor, and to find the second channel.
        self._stop.wait(_SETTLE_TWO_S if self._settings.position_channel else _SETTLE_S)

    def _start(self) -> None:
        late = self._settings.position_channel
        structures = {late: pvaccess.position_structure((0.0, 0.0), 0)} if late else {}
        server = pvaccess.ImageServer([self._settings.channel_name], structures)
        self._server = self._running.enter_context(server)


def run(settings: Settings) -> None:
    """Publish what the settings ask for; return when all is published or a signal ends it.

    Raises
    ------
    UsageError
        If the settings ask for something that cannot be, or a port is in use.
    """
    stop = threading.Event()
    series, truth = make_series(settings)
    plan = settings.plan(series.count)
    if settings.truth is not None:
        write_truth(settings.truth, truth)

    def make(index: int) -> PvStructure:
        position = None if settings.position_channel else series.position(index)
        x, y = position or (None, None)
        attributes = {"x_position": x, "y_position": y, "scan_id": settings.scan_id}
        return pvaccess.ntndarray_from(series.image(index), 0, 0, attributes, settings.codec)

    capacity = plan.total if settings.prepare_all else settings.cache_size
    frames = detector.Ahead(make, count=series.count, total=plan.total, capacity=max(capacity, 1))
    with _stopped_by_signals(stop), frames, _Output(settings, stop) as output:
        _say(f"{series.name}: {series.count} frames at {plan.rate_hz:g} Hz on {settings.channel_name}")
        stop.wait(settings.start_delay)
        if settings.wait_for_client:
            output.wait_for_client()
        _make_ready(settings, frames, stop)
        late = detector.LatePositions(output.post_position, settings.position_delay)
        began = time.monotonic()

        def after_frame(number: int, time_ns: int) -> None:
            position = series.position((number - 1) % series.count)
            if settings.position_channel and position is not None:
                late.add(position, time_ns)
            if settings.report_period > 0 and number % settings.report_period == 0:
                _say(f"{number} frames published, {number / (time.monotonic() - began):.1f} frames/s")

        done = detector.acquire(frames, output, plan, stop, after_frame)
        late.close()
        stop.wait(settings.shutdown_delay)
    _say(f"{sum(len(a.ids) for a in done)} frames published")
    if settings.report is not None:
        write_report(settings, series, done, late.count)


def _make_ready(settings: Settings, frames: detector.Ahead, stop: threading.Event) -> None:
    """Wait until enough frames are made for the first to leave."""
    if settings.prepare_all:
        frames.wait_for_all(stop)
    elif not frames.wait_until_safe(settings.frame_rate, stop, settings.prepare_time):
        _say("frames may be late: they are made more slowly than they are published (see --prepare-all)")
    _say(f"{frames.made} frames ready, made at {frames.made_per_s:.0f}/s")


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Generator[None]:
    """Let SIGINT and SIGTERM end the publishing, so that the report is written all the same."""
    watched = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda _number, _frame: stop.set()) for number in watched}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(line: str) -> None:
    click.echo(f"detector: {line}", err=True)
