"""The pipeline on the embedded engine, started with ``charonctl run --local``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING

from charon.adapters.nats import NatsConnection
from charon.comparison.engines.frame_files import FrameFiles
from charon.comparison.engines.manifest import PIPELINE, WORKER, write_manifest
from charon.comparison.engines.program import Program, children_of
from charon.comparison.engines.restarts import restart_notes
from charon.engines.embedded import RunInfo
from charon.errors import UnavailableError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from charon.comparison.model import Condition

_SERVER = "nats-server"


class EmbeddedDriver:
    """A pipeline of source, inference and one sink, with buffers in memory.

    Parameters
    ----------
    condition
        Load and setting.
    folder
        Folder for the manifest, logs and results.
    environment
        Environment variables of its processes.
    """

    worker = f"{WORKER}.0"
    client_delay_s = 0.5

    def __init__(self, condition: Condition, folder: Path, environment: dict[str, str]) -> None:
        self._condition = condition
        self._run_file = Path(environment["XDG_STATE_HOME"]) / "charon" / "runs" / f"{PIPELINE}.json"
        self._output = folder / "out"
        manifest, frames = folder / "pipeline.yaml", folder / "frames"
        arguments = ["run", str(manifest), "--local", "--quiet", "--output", str(self._output)]
        arguments += ["--frame-log", str(frames)]
        self._program = Program("the pipeline", arguments, environment, folder / "engine.log")
        self._manifest = manifest
        self._files = FrameFiles(frames, "*.bin")

    def start(self) -> None:
        """Write the manifest and start the pipeline."""
        write_manifest(self._condition, self._manifest)
        self._program.start()

    def failure(self) -> str | None:
        """Return why the pipeline has ended, or None while it runs."""
        return self._program.failure()

    def processes(self) -> dict[str, int]:
        """Return the process ids of the supervisor, the nats-server and the replicas, from the run's ledger.

        Raises
        ------
        UnavailableError
            If the ledger cannot be read, for example because the run is starting or ending.
        """
        pid = self._program.pid
        if pid is None:
            return {}
        children = children_of(pid)
        found = {name: child for child, name in children.items() if name == _SERVER}
        try:
            info = RunInfo(**json.loads(self._run_file.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise UnavailableError(f"cannot read {self._run_file}: {error}") from error
        found |= asyncio.run(_replicas(info))
        return {"charonctl": pid, **{name: child for name, child in found.items() if child in children}}

    def records(self) -> NDArray[np.void]:
        """Return all records of all replicas so far."""
        return self._files.records()

    def drain(self, timeout_s: float) -> list[str]:
        """Drain and end the pipeline; return its restarts.

        Raises
        ------
        UnavailableError
            If it has not drained after the timeout.
        """
        self._program.drain(timeout_s)
        return restart_notes(self._output / "summary.json")

    def kill(self) -> None:
        """End every process of the pipeline immediately."""
        self._program.kill()


async def _replicas(info: RunInfo) -> dict[str, int]:
    """Return the process id of each replica that has written its page."""
    connection = await NatsConnection.connect(info.address, "compare", reconnect=False)
    try:
        return {name: page.process.pid for name, page in (await connection.ledger.pages()).items()}
    finally:
        await connection.close()
