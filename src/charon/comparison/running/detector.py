"""The detector of a cell: ``charonctl detector`` in a process of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from charon.comparison.engines.frame_files import FrameFiles
from charon.comparison.engines.manifest import CHANNEL
from charon.comparison.engines.program import Program
from charon.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from charon.comparison.model import Condition

SCAN_POINTS = 128
"""Different frames of a cell; the scan repeats, so that the memory for prepared frames is limited."""

_NICE = -10
_EXIT_TIMEOUT_S = 20.0
# The detector ends when the engine has received everything; until then, its queues must remain available.
_SHUTDOWN_DELAY_S = 600


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """What the detector has published.

    Parameters
    ----------
    published
        Number of frames.
    achieved_hz
        Frame rate from the first to the last frame; None if it published fewer than two frames.
    """

    published: int
    achieved_hz: float | None


def detector_arguments(
    condition: Condition, seed: int, *, client_delay_s: float, report: Path, frame_log: Path
) -> list[str]:
    """Return the arguments of ``charonctl detector``.

    Parameters
    ----------
    condition
        Frame rate, size and number of frames.
    seed
        Random seed of the frames.
    client_delay_s
        Time between the connection of a client and the first frame.
    report, frame_log
        Files that the detector writes.
    """
    rows, columns = condition.shape
    values = {
        "channel-name": CHANNEL,
        "frame-rate": condition.rate_hz,
        "n-frames": condition.frames,
        "n-y-pixels": rows,
        "n-x-pixels": columns,
        "points": min(condition.frames, SCAN_POINTS),
        "repeat": 0,
        "seed": seed,
        "client-delay": client_delay_s,
        "shutdown-delay": _SHUTDOWN_DELAY_S,
        "report-period": 0,
        "report": report,
        "frame-log": frame_log,
    }
    options = [part for name, value in values.items() for part in (f"--{name}", str(value))]
    return ["--wait-for-client", "--prepare-all", *options]


class Detector:
    """A simulated detector that publishes the frames of a condition when a client has connected.

    Parameters
    ----------
    condition
        Frame rate, size and number of frames.
    seed
        Random seed of the frames.
    folder
        Folder for its files.
    environment
        Environment variables of its process.
    client_delay_s
        Time between the connection of a client and the first frame.
    """

    def __init__(
        self, condition: Condition, seed: int, folder: Path, environment: dict[str, str], *, client_delay_s: float
    ) -> None:
        self.frames = condition.frames
        self._report = folder / "detector.json"
        self._files = FrameFiles(folder, "detector.bin")
        arguments = detector_arguments(
            condition, seed, client_delay_s=client_delay_s, report=self._report, frame_log=folder / "detector.bin"
        )
        self._program = Program("the detector", ["detector", *arguments], environment, folder / "detector.log")

    @property
    def pid(self) -> int:
        """Process id.

        Raises
        ------
        UnavailableError
            If the detector has not started.
        """
        if self._program.pid is None:
            raise UnavailableError("the detector has not started")
        return self._program.pid

    def start(self) -> bool:
        """Start the detector; return whether it has a higher priority than the engine, like one on its own machine."""
        self._program.start()
        try:
            # At once: threads inherit the priority when they are created.
            psutil.Process(self.pid).nice(_NICE)
        except psutil.Error:
            return False
        return True

    def failure(self) -> str | None:
        """Return why the detector has ended, or None while it runs."""
        return self._program.failure()

    def published(self) -> NDArray[np.void]:
        """Return the records of the frames that it has published so far, (n,) of `RECORD`."""
        return self._files.records()

    def end(self) -> DetectorReport:
        """End the detector and return its report.

        Raises
        ------
        UnavailableError
            If it does not end or has written no valid report.
        """
        self._program.terminate()
        if not self._program.exits_within(_EXIT_TIMEOUT_S):
            raise UnavailableError(f"the detector did not end within {_EXIT_TIMEOUT_S:.0f} s")
        try:
            return parse_report(self._report.read_text())
        except OSError as error:
            raise UnavailableError(f"the detector wrote no valid report: {error}") from error

    def kill(self) -> None:
        """Kill the detector; without effect if it has ended."""
        self._program.kill()


def parse_report(text: str) -> DetectorReport:
    """Return the content of a detector's report.

    Raises
    ------
    UnavailableError
        If it is not valid.
    """
    try:
        report: dict[str, Any] = json.loads(text)
        return DetectorReport(report["published"], report["achieved_hz"])
    except (ValueError, KeyError, TypeError) as error:
        raise UnavailableError(f"the detector wrote no valid report: {error}") from error
