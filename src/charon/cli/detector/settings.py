"""Settings of ``charonctl detector``."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.adapters import pvaccess, simulator
from charon.cli.parameters import parse_numbers
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from charon.adapters.recordings import Order

_UNLIMITED = 1 << 62


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Values of the options; see ``charonctl detector --help``."""

    channel_name: str
    frame_rate: float
    n_frames: int | None
    runtime: float | None
    repeat: int | None
    cache_size: int
    prepare_all: bool
    prepare_time: float
    start_delay: float
    shutdown_delay: float
    report_period: int
    wait_for_client: bool
    clients: int
    client_delay: float | None
    codec: str | None
    scan_id: str
    n_x_pixels: int
    n_y_pixels: int
    datatype: str
    sample: str
    scan: str
    step: float
    shape: tuple[int, int] | None
    points: int | None
    flux: float
    dead_pixels: int
    saturation: int | None
    seed: int
    input_file: Path | None
    input_directory: Path | None
    hdf_dataset: str | None
    positions: Path | None
    position_scale: float
    position_order: Order | None
    fftshift: bool
    drop: frozenset[int] = field(default_factory=frozenset[int])
    bad: Sequence[str] = ()
    restart_at: int | None = None
    restart_pause: float = 1.0
    position_channel: str | None = None
    position_delay: float = 0.05
    report: Path | None = None
    frame_log: Path | None = None
    truth: Path | None = None

    def plan(self, count: int) -> simulator.Plan:
        """Return the plan for a series of `count` frames."""
        default_passes = 1 if self.runtime is None else 0
        passes = default_passes if self.repeat is None else self.repeat
        total = self.n_frames or (passes * count or _UNLIMITED)
        runtime_s = math.inf if self.runtime is None else self.runtime
        return simulator.Plan(
            rate_hz=self.frame_rate,
            total=min(total, math.ceil(runtime_s * self.frame_rate)) if self.runtime else total,
            runtime_s=runtime_s,
            drop=self.drop,
            faults=_parse_faults(self.bad),
            restart_at=self.restart_at,
        )


def _parse_faults(texts: Sequence[str]) -> dict[int, str]:
    faults: dict[int, str] = {}
    for text in texts:
        fault, _, numbers = text.partition("@")
        if fault not in pvaccess.FAULTS or not numbers:
            raise UsageError(f"--bad {text}: expected FAULT@NUMBERS; faults: {', '.join(pvaccess.FAULTS)}")
        try:
            faults |= dict.fromkeys(parse_numbers(numbers), fault)
        except ValueError as error:
            raise UsageError(f"--bad {text}: {error}") from error
    return faults
