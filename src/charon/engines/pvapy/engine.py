"""The baseline on one machine: PvaPy's programs as supervised processes."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.adapters.prometheus.scrape import serve_text
from charon.engines.embedded import EngineError
from charon.engines.embedded.processes import Process
from charon.engines.pvapy.account import BaselineAccount, account_of
from charon.engines.pvapy.commands import consumer_command, mirror_command, stitcher_command
from charon.engines.pvapy.figures import Figures, RateMeter, metrics_text
from charon.engines.pvapy.process_file import ProcessFile
from charon.engines.pvapy.stitch_account import StitchReader
from charon.errors import UnavailableError, UsageError
from charon.ledger.frame_log import PROCESSED, RECORD, FrameLogReader
from charon.science.latency import LatencyRecorder
from charon.settings import environment, epics

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from charon.engines.pvapy.commands import BaselineOptions
    from charon.engines.pvapy.stitch_account import StitchAccount

_POLL_INTERVAL_S = 0.05
_START_TIMEOUT_S = 60.0
_IDLE_TIMEOUT_S = 1.0
_DRAIN_TIMEOUT_S = 30.0
_EXIT_TIMEOUT_S = 15.0
_ACCOUNT_TIME_FRACTION = 0.05


@dataclass(frozen=True, slots=True)
class BaselineSnapshot:
    """State of the baseline.

    Parameters
    ----------
    account
        The account of frames.
    figures
        Figures of all consumers together.
    processed
        Number of published results of each consumer.
    stitching
        The account of stitched patches; None if nothing is stitched.
    """

    account: BaselineAccount
    figures: Figures
    processed: Sequence[int]
    stitching: StitchAccount | None = None


class BaselineEngine:
    """One run of the baseline.

    Parameters
    ----------
    options
        Its options.
    """

    def __init__(self, options: BaselineOptions) -> None:
        self.options = options
        self.messages: list[str] = []
        self.failure: str | None = None
        self.metrics_port: int | None = None
        self.mirror = self._process("mirror", mirror_command(options))
        numbers = range(1, options.consumers + 1)
        self.consumers = [self._process(f"consumer.{k}", consumer_command(options, k)) for k in numbers]
        self.stitcher = None if options.images is None else self._process("stitcher", stitcher_command(options))
        self._stitching = StitchReader(options.stitch_log)
        self._readers = [FrameLogReader(options.log_of(k)) for k in numbers]
        self._records: list[list[NDArray[np.void]]] = [[] for _ in numbers]
        self._latency = LatencyRecorder()
        self._rate = RateMeter()
        self._account = BaselineAccount()
        self._account_s = 0.0
        self._account_due_s = 0.0
        self._supervisor: asyncio.Task[None] | None = None
        self._process_file = ProcessFile(options.folder)
        self._exporter = AsyncExitStack()

    @property
    def processes(self) -> list[Process]:
        """All processes of the baseline."""
        return [self.mirror, *self.consumers, *([] if self.stitcher is None else [self.stitcher])]

    async def start(self) -> None:
        """Start the consumers and, when their networks are loaded, the mirror server.

        The stitching consumer starts before the mirror server, so that it has subscribed before the first result.

        Raises
        ------
        EngineError
            If a consumer does not start.
        UsageError
            If the model bundle is invalid, or the port of the metrics is in use.
        """
        try:
            load_bundle(self.options.model)
        except BundleError as error:
            raise UsageError(str(error)) from error
        self.options.folder.mkdir(parents=True, exist_ok=True)
        await self._serve_metrics()
        for process in self.consumers:
            process.start()
        self._supervisor = asyncio.create_task(self._supervise())
        await self._until_exist(self._logs, "the consumers")
        if self.stitcher is not None:
            self.stitcher.start()
            await self._until_exist([self.options.stitch_log], "the stitching consumer")
        # The mirror server is the detector's client: a detector that waits for a client starts to publish now.
        self.mirror.start()

    async def drain(self) -> None:
        """Stop the mirror server, then each consumer when it has processed its queue, the stitching consumer last."""
        self.mirror.terminate()
        if not await self.mirror.exits_within(_EXIT_TIMEOUT_S):
            self.mirror.kill()
        await self._until_idle(self._logs)
        await self._end(self.consumers)
        if self.stitcher is not None:
            await self._until_idle([self.options.stitch_log])
            await self._end([self.stitcher])

    async def stop(self) -> None:
        """Kill every process that is still running."""
        await self._exporter.aclose()
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)
        for process in self.processes:
            process.kill()

    def snapshot(self, *, ended: bool = False) -> BaselineSnapshot:
        """Return the state; the account is computed at most once per second, and at the end."""
        for reader, parts in zip(self._readers, self._records, strict=True):
            new = reader.read()
            if len(new):
                parts.append(new)
                self._measure(new)
        self._stitching.read()
        self._update_account(ended=ended)
        account = self._account
        figures = Figures(
            received=account.received,
            processed=account.processed,
            missed=account.missed,
            lost=account.lost,
            rejected=account.rejected,
            duplicates=account.duplicates,
            rate_hz=self._rate.rate_hz(),
            queued=sum(int(parts[-1]["queued"][-1]) for parts in self._records if parts),
            latency=self._latency.latency(),
            stitched=None if self.stitcher is None else self._stitching.account.stitched,
        )
        processed = [sum(int(np.sum(part["outcome"] == PROCESSED)) for part in parts) for parts in self._records]
        return BaselineSnapshot(account, figures, processed, None if self.stitcher is None else self._stitching.account)

    def restarts(self) -> dict[str, int]:
        """Return the number of restarts of each process that was restarted."""
        return {process.name: process.restarts for process in self.processes if process.restarts}

    def _process(self, name: str, command: list[str]) -> Process:
        epics.set_client_defaults()
        epics.set_server_defaults()
        return Process(name, command, environment.copy(), self.options.folder / f"{name}.log")

    def _measure(self, records: NDArray[np.void]) -> None:
        done = records[records["outcome"] == PROCESSED]
        for time_ns, done_ns in zip(done["time_ns"].tolist(), done["done_ns"].tolist(), strict=True):
            self._rate.add(done_ns, 1)
            if time_ns:
                self._latency.add(done_ns - time_ns)

    def _update_account(self, *, ended: bool) -> None:
        if not ended and time.monotonic() < self._account_due_s:
            return
        # One array per consumer, so that a long run does not retain an array per poll.
        self._records = [[np.concatenate(parts)] if parts else [] for parts in self._records]
        started = time.monotonic()
        logs = [parts[0] if parts else np.empty(0, RECORD) for parts in self._records]
        self._account = account_of(logs, ended=ended)
        if self.stitcher is not None:
            self._stitching.update(logs, self.messages)
        now = time.monotonic()
        self._account_due_s = now + max(1.0, (now - started) / _ACCOUNT_TIME_FRACTION)

    async def _serve_metrics(self) -> None:
        async def text() -> str:
            return metrics_text(self.snapshot().figures, {"channel": self.options.channel})

        try:
            server = serve_text(text, port=self.options.metrics_port)
            self.metrics_port = await self._exporter.enter_async_context(server)
        except UnavailableError as error:
            raise UsageError(f"{error}; choose another port with --metrics-port, or 0 for a free one") from error

    async def _supervise(self) -> None:
        while True:
            for process in self.processes:
                message = process.supervise()
                if message:
                    self.messages.append(message)
                    if process is self.stitcher:
                        self._stitching.restart()
                self.failure = self.failure or process.failure or None
            self._process_file.update(self.processes)
            await asyncio.sleep(_POLL_INTERVAL_S)

    @property
    def _logs(self) -> list[Path]:
        return [self.options.log_of(k) for k in range(1, self.options.consumers + 1)]

    async def _until_exist(self, logs: Sequence[Path], writers: str) -> None:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not all(log.exists() for log in logs):
            if self.failure is not None:
                raise EngineError(self.failure)
            if time.monotonic() > deadline:
                raise EngineError(f"{writers} did not become ready within {_START_TIMEOUT_S:.0f} s")
            await asyncio.sleep(_POLL_INTERVAL_S)

    async def _until_idle(self, logs: Sequence[Path]) -> None:
        """Wait until no record has been added for a second."""
        deadline = time.monotonic() + _DRAIN_TIMEOUT_S
        sizes, changed_s = _sizes(logs), time.monotonic()
        while time.monotonic() < min(deadline, changed_s + _IDLE_TIMEOUT_S):
            await asyncio.sleep(_POLL_INTERVAL_S)
            latest = _sizes(logs)
            if latest != sizes:
                sizes, changed_s = latest, time.monotonic()

    async def _end(self, processes: Sequence[Process]) -> None:
        """Terminate processes; kill those that do not exit in time."""
        for process in processes:
            process.terminate()
        for process in processes:
            if not await process.exits_within(_EXIT_TIMEOUT_S):
                self.messages.append(f"{process.name} did not exit within {_EXIT_TIMEOUT_S:.0f} s; killed")


def _sizes(files: Sequence[Path]) -> list[int]:
    return [file.stat().st_size if file.exists() else 0 for file in files]
