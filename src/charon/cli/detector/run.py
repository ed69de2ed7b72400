"""Run the simulated detector: publish frames as its settings require, then write the report."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Self

import click

from charon.adapters import pvaccess, simulator
from charon.cli.detector.report import write_report, write_truth
from charon.cli.detector.series import make_series
from charon.frames import FrameId
from charon.ledger.frame_log import PUBLISHED, FrameLog

if TYPE_CHECKING:
    from collections.abc import Generator

    from charon.adapters.pvaccess.pvapy import PvStructure
    from charon.cli.detector.settings import Settings

# A client that has connected still has to start its monitor, and to find the position channel.
_MONITOR_DELAY_S = 0.5
_POSITION_MONITOR_DELAY_S = 2.5
_POLL_INTERVAL_S = 0.05


class _Output:
    """Publishes prepared frames on a server that can restart."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._stack = ExitStack()
        self._server: pvaccess.ImageServer | None = None
        self._frame_log: FrameLog | None = None

    def __enter__(self) -> Self:
        self._frame_log = _open_frame_log(self._settings)
        self._start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._frame_log is not None:
            self._frame_log.close()

    @property
    def server(self) -> pvaccess.ImageServer:
        if self._server is None:
            raise RuntimeError("the server is used outside its context")
        return self._server

    def post(self, item: PvStructure, unique_id: int, time_ns: int) -> None:
        pvaccess.set_id_and_time(item, unique_id, time_ns)
        self.server.post_structure(self._settings.channel_name, item)
        self._record(unique_id, time_ns)

    def post_faulty(self, item: PvStructure, unique_id: int, time_ns: int, fault: str) -> None:
        pvaccess.set_id_and_time(item, unique_id, time_ns)
        self.server.post_structure(self._settings.channel_name, pvaccess.corrupt(item, fault))
        self._record(unique_id, time_ns)

    def post_position(self, position: tuple[float, float], time_ns: int) -> None:
        if self._settings.position_channel is not None:
            item = pvaccess.build_position(position, time_ns)
            self.server.post_structure(self._settings.position_channel, item)

    def restart(self) -> None:
        _log("restarting; uniqueId starts again from 1")
        # The latest updates are still being sent.
        self._stop.wait(self._settings.shutdown_delay)
        self._stack.close()
        self._stop.wait(self._settings.restart_pause)
        self._start()
        if self._settings.wait_for_client:
            self.wait_for_clients()

    def wait_for_clients(self) -> None:
        expected, channel = self._settings.clients, self._settings.channel_name
        _log(f"waiting for {'a client' if expected == 1 else f'{expected} clients'} of {channel}")
        while self.server.count_clients() < expected and not self._stop.wait(_POLL_INTERVAL_S):
            pass
        default_s = _POSITION_MONITOR_DELAY_S if self._settings.position_channel else _MONITOR_DELAY_S
        self._stop.wait(default_s if self._settings.client_delay is None else self._settings.client_delay)

    def _record(self, unique_id: int, time_ns: int) -> None:
        if self._frame_log is not None:
            self._frame_log.append(FrameId(self._settings.channel_name, unique_id, time_ns), PUBLISHED, time.time_ns())

    def _start(self) -> None:
        channel = self._settings.position_channel
        structures = {channel: pvaccess.build_position((0.0, 0.0), 0)} if channel else {}
        server = pvaccess.ImageServer([self._settings.channel_name], structures)
        self._server = self._stack.enter_context(server)


def run(settings: Settings) -> None:
    """Publish frames until the plan is complete or a signal arrives.

    Raises
    ------
    UsageError
        If the settings are invalid, or the server's port is in use.
    """
    stop = threading.Event()
    series, experiment = make_series(settings)
    plan = settings.plan(series.count)
    if settings.truth is not None:
        write_truth(settings.truth, experiment)

    def make(index: int) -> PvStructure:
        position = None if settings.position_channel else series.position(index)
        x, y = position or (None, None)
        attributes = {"x_position": x, "y_position": y, "scan_id": settings.scan_id}
        return pvaccess.build_ntndarray(series.image(index), 0, 0, attributes, settings.codec)

    capacity = plan.total if settings.prepare_all else settings.cache_size
    frames = simulator.Prefetcher(make, count=series.count, total=plan.total, capacity=max(capacity, 1))
    with _stop_on_signals(stop), frames, _Output(settings, stop) as output:
        name = series.name if experiment is None else settings.sample
        _log(f"{name}: {series.count} frames at {plan.rate_hz:g} frames/s on {settings.channel_name}")
        stop.wait(settings.start_delay)
        if settings.wait_for_client:
            output.wait_for_clients()
        _prepare(settings, frames, stop)
        positions = simulator.LatePositionPublisher(output.post_position, settings.position_delay)
        started_s = time.monotonic()

        def on_frame(number: int, time_ns: int) -> None:
            position = series.position((number - 1) % series.count)
            if settings.position_channel and position is not None:
                positions.add(position, time_ns)
            if settings.report_period > 0 and number % settings.report_period == 0:
                _log(f"{number:,} frames published, {number / (time.monotonic() - started_s):.1f} frames/s")

        acquisitions = simulator.acquire(frames, output, plan, stop, on_frame)
        positions.close()
        stop.wait(settings.shutdown_delay)
    _log(f"{sum(len(a.ids) for a in acquisitions):,} frames published")
    if settings.report is not None:
        write_report(settings, series, acquisitions, positions.count)


def _open_frame_log(settings: Settings) -> FrameLog | None:
    if settings.frame_log is None:
        return None
    settings.frame_log.parent.mkdir(parents=True, exist_ok=True)
    return FrameLog(settings.frame_log)


def _prepare(settings: Settings, frames: simulator.Prefetcher, stop: threading.Event) -> None:
    """Wait until enough frames are prepared to start publishing."""
    if settings.prepare_all:
        frames.wait_for_all(stop)
    elif not frames.wait_until_safe(settings.frame_rate, stop, settings.prepare_time):
        _log("warning: frames may be late: preparing them is slower than the frame rate (see --prepare-all)")
    _log(f"{frames.ready:,} frames prepared, at {frames.rate_hz:.0f} frames/s")


@contextmanager
def _stop_on_signals(stop: threading.Event) -> Generator[None]:
    """Set an event on SIGINT and SIGTERM, so that the report is written even after an interrupt."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    previous = {number: signal.signal(number, lambda _number, _frame: stop.set()) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _log(line: str) -> None:
    click.echo(f"detector: {line}", err=True)
