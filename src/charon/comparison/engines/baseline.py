"""The PvaPy baseline, started with ``charonctl baseline --local``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from charon.comparison.engines.frame_files import FrameFiles
from charon.comparison.engines.manifest import CHANNEL
from charon.comparison.engines.program import Program, children_of
from charon.comparison.engines.restarts import restart_notes
from charon.engines.pvapy.process_file import PROCESS_FILE
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from charon.comparison.model import Condition


class BaselineDriver:
    """A mirror server and consumers, and a stitcher if the condition requires it.

    Parameters
    ----------
    condition
        Load and setting.
    folder
        Folder for logs and results.
    environment
        Environment variables of its processes.
    """

    worker = "consumer.1"
    # The consumers connect to the mirror server, which has connected to the detector.
    client_delay_s = 1.5

    def __init__(self, condition: Condition, folder: Path, environment: dict[str, str]) -> None:
        setting = condition.setting
        self._output = folder / "out"
        values = {
            "channel": CHANNEL,
            "model": condition.model,
            "threads": setting.threads,
            "batch": setting.batch,
            "consumers": condition.replicas,
            "queue-size": setting.queue_size,
            "metrics-port": 0,
            "output": self._output,
        }
        arguments = ["baseline", "--local", "--quiet", *(["--stitch"] if condition.stitch else [])]
        arguments += [part for name, value in values.items() for part in (f"--{name}", str(value))]
        self._program = Program("the baseline", arguments, environment, folder / "engine.log")
        self._files = FrameFiles(self._output / "run", "*.bin")

    def start(self) -> None:
        """Start the baseline."""
        self._program.start()

    def failure(self) -> str | None:
        """Return why the baseline has ended, or None while it runs."""
        return self._program.failure()

    def processes(self) -> dict[str, int]:
        """Return the process ids of the supervisor and of PvaPy's programs, from the supervisor's file.

        Raises
        ------
        UnavailableError
            If the supervisor has not written the file yet.
        """
        pid = self._program.pid
        if pid is None:
            return {}
        path = self._output / "run" / PROCESS_FILE
        try:
            found: dict[str, int] = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UnavailableError(f"cannot read {path}: {error}") from error
        children = children_of(pid)
        return {"charonctl": pid, **{name: child for name, child in found.items() if child in children}}

    def records(self) -> NDArray[np.void]:
        """Return all records of all consumers so far."""
        return self._files.records()

    def drain(self, timeout_s: float) -> list[str]:
        """Drain and end the baseline; return its restarts.

        Raises
        ------
        UnavailableError
            If it has not drained after the timeout.
        """
        self._program.drain(timeout_s)
        return restart_notes(self._output / "summary.json")

    def kill(self) -> None:
        """End every process of the baseline immediately."""
        self._program.kill()
