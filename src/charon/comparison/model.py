"""Data of a comparison, as its results folder contains them.

A comparison consists of cells. A cell is one run of one engine with one detector: a load, a number of replicas and a
setting of the engine. Cells of the same `Condition` differ only in their repetition.
"""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from charon.settings.base import Settings

FORMAT = 1
"""Version of the results folder."""

Engine = Literal["embedded", "baseline", "numaflow", "baseline-pods"]
Part = Literal["setting", "load", "maximum", "overload", "recovery", "noise"]
"""Question that a cell answers.

- ``setting``: which batch, number of threads and queue size suit an engine best
- ``load``: throughput, latency, resources at a fixed frame rate
- ``maximum``: the highest loss-free rate, by bisection
- ``overload``: loss at 1.5 times the engine's own maximum
- ``recovery``: loss and recovery time after SIGKILL of one inference worker
- ``noise``: the same engine on both sides (A/A)
"""

ENGINES: tuple[Engine, ...] = get_args(Engine)
"""All engines."""

PARTS: tuple[Part, ...] = get_args(Part)
"""All parts, in the order in which they are measured."""

LATENCY_STAGES = ("result", "stitched")
"""Stages to which latency is measured, both from the detector's time stamp.

- ``result``: the result is available; pipeline: message acknowledged after inference; baseline: output published
- ``stitched``: the patch is in the stitched image
"""


class EngineSetting(Settings):
    """Setting of an engine's inference.

    Parameters
    ----------
    batch
        Maximum number of frames in a batch.
    threads
        CPU threads of each inference worker; 0 uses the engine's default.
    queue_size
        Frames that a consumer of the baseline queues; the pipeline ignores it.
    """

    batch: int = Field(default=8, ge=1)
    threads: int = Field(default=0, ge=0)
    queue_size: int = Field(default=500, ge=1)


class Condition(Settings):
    """Everything that determines a cell, except its repetition.

    Parameters
    ----------
    part
        Question that the cell answers.
    engine
        The engine.
    rate_hz
        Frame rate of the detector.
    shape
        (rows, columns) of the detector's frames.
    model
        Model bundle, a name or a folder; it requires frames of `shape`.
    replicas
        Number of inference workers: replicas of the inference vertex, or consumers.
    setting
        Setting of the engine.
    duration_s
        Duration of the measured part, after the warm-up.
    warm_up_s
        Time at the start whose frames are counted in the account, but excluded from rates, latencies and resources.
    stitch
        Whether the engine also stitches the image.
    side
        ``A`` or ``B`` in the part ``noise``, otherwise empty.
    """

    part: Part
    engine: Engine
    rate_hz: float = Field(gt=0)
    shape: tuple[int, int]
    model: str
    replicas: int = Field(default=1, ge=1)
    setting: EngineSetting = EngineSetting()
    duration_s: float = Field(gt=0)
    warm_up_s: float = Field(ge=0)
    stitch: bool = False
    side: Literal["", "A", "B"] = ""

    @property
    def frames(self) -> int:
        """Number of frames that the detector publishes."""
        return round(self.rate_hz * (self.warm_up_s + self.duration_s))


class Cell(Settings):
    """One run of one engine.

    Parameters
    ----------
    number
        Number of the cell in the order of the comparison, from 1.
    condition
        Its condition.
    repetition
        Repetition of the condition, from 0; cells of different engines with the same repetition are neighbours.
    seed
        Seed of the detector's frames; equal for all engines in a repetition.
    """

    number: int = Field(ge=1)
    condition: Condition
    repetition: int = Field(default=0, ge=0)
    seed: int = 0


class FrameCounts(Settings):
    """Account of a cell, over all frames that the detector published, each frame counted once.

    ``published = processed + rejected + missed + lost``. In a cell of a pipeline that was drained, nothing is pending.

    Parameters
    ----------
    published
        Frames in the detector's report.
    processed
        Frames with a result.
    rejected
        Frames that the engine rejected with a reason, and that have no result.
    missed
        Frames that the engine never received.
    lost
        Frames that the engine received, and that have neither a result nor a rejection.
    duplicates
        Further results of frames that already had one.
    unknown
        Results with an id that the detector never published; 0 unless the account is wrong.
    missed_ids, lost_ids
        The ids of missed and lost frames as closed ranges.
    """

    published: int
    processed: int
    rejected: int
    missed: int
    lost: int
    duplicates: int
    unknown: int = 0
    missed_ids: list[list[int]] = Field(default_factory=list[list[int]])
    lost_ids: list[list[int]] = Field(default_factory=list[list[int]])

    @property
    def without_result(self) -> int:
        """Frames that were published and will not be in the image: missed, lost or rejected."""
        return self.published - self.processed


class LatencyFigures(Settings):
    """Latency of the frames after the warm-up, in ms from the detector's time stamp.

    Parameters
    ----------
    count
        Number of measured frames.
    p50, p90, p99, max
        Quantiles (linear interpolation between order statistics) and maximum in ms.
    """

    count: int
    p50: float
    p90: float
    p99: float
    max: float


class ProcessFigures(Settings):
    """Resources of one process of the engine after the warm-up.

    Parameters
    ----------
    name
        Vertex or program with its number, such as ``cat.0``, ``consumer.1``, ``mirror``, ``nats-server``.
    cpu_s
        CPU time, user and system, until the last result.
    rss_max_bytes, rss_mean_bytes
        Resident memory.
    """

    name: str
    cpu_s: float
    rss_max_bytes: int
    rss_mean_bytes: int


class RecoveryFigures(Settings):
    """Effect of SIGKILL of one inference worker.

    Parameters
    ----------
    process
        Name of the killed process.
    killed_ns
        Time of the kill, ns since 1970.
    recovered_s
        Time after the kill until results arrive at the offered rate again; None if they did not.
    backlog_cleared_s
        Time after the kill until the latency is back at its level before the kill; None if it was not.
    """

    process: str
    killed_ns: int
    recovered_s: float | None
    backlog_cleared_s: float | None


class CellResult(Settings):
    """Result of a cell.

    Parameters
    ----------
    cell
        The cell.
    attempt
        Number of the attempt, from 1: an invalid cell is repeated.
    invalid
        Why the result must not be used; None if it is valid.
    failure
        Why the cell could not run; None if it ran. Then the figures are empty.
    started_ns, ended_ns
        Start of the engine and end of the drain, ns since 1970.
    offered_hz
        Rate at which the detector published after the warm-up.
    processed_hz
        Rate at which results became available, from the first to the last frame after the warm-up.
    counts
        Account of the frames.
    kept_up
        Whether the engine kept up: every frame has a result, and the latency did not grow.
    drain_s
        Time from the detector's last frame to the last result.
    latency_ms
        Latency by stage.
    processes
        Resources by process of the engine, without the detector.
    cpu_ms_per_frame
        CPU time of all processes of the engine per processed frame after the warm-up.
    rss_max_bytes
        Sum of the processes' maximum resident memory.
    detector_cpu_s
        CPU time of the detector.
    other_cpu
        CPU used by other work on the machine during the measurement, in cores.
    late_frames
        Frames that the detector published more than one period, and more than 5 ms, late.
    recovery
        Only for the part ``recovery``.
    notes
        Observations that a reader of the report needs, one line each.
    """

    cell: Cell
    attempt: int = 1
    invalid: str | None = None
    failure: str | None = None
    started_ns: int
    ended_ns: int
    offered_hz: float | None = None
    processed_hz: float | None = None
    counts: FrameCounts | None = None
    kept_up: bool = False
    drain_s: float | None = None
    latency_ms: dict[str, LatencyFigures] = Field(default_factory=dict[str, LatencyFigures])
    processes: list[ProcessFigures] = Field(default_factory=list[ProcessFigures])
    cpu_ms_per_frame: float | None = None
    rss_max_bytes: int | None = None
    detector_cpu_s: float | None = None
    other_cpu: float | None = None
    late_frames: int | None = None
    recovery: RecoveryFigures | None = None
    notes: list[str] = Field(default_factory=list[str])

    @property
    def is_usable(self) -> bool:
        """Whether the cell ran and its result is valid."""
        return self.invalid is None and self.failure is None


class Plan(Settings):
    """What a comparison measures.

    Parameters
    ----------
    engines
        Engines in the order in which they alternate; the first is the reference (numerator of every ratio).
    rates_hz
        Frame rates of the part ``load``.
    models
        Model bundles; each determines the frame size.
    replicas
        Numbers of inference workers.
    repetitions
        Repetitions of each condition of the parts ``load`` and ``recovery``, from which the others follow.
    duration_s, warm_up_s
        Measured time and warm-up of each cell; for the parts ``overload`` and ``recovery``, only the warm-up.
    overload_s
        Measured time of a cell of the parts ``overload`` and ``recovery``.
    parts
        Parts to measure.
    tolerance
        The search for the maximum ends if the lowest lossy rate exceeds the highest loss-free one by at most this
        fraction.
    stitch
        Whether every engine stitches the image.
    seed
        Seed of the first repetition.
    max_attempts
        Attempts of a cell whose result is invalid.
    """

    engines: list[Engine]
    rates_hz: list[float]
    models: list[str]
    replicas: list[int]
    repetitions: int = Field(ge=1)
    duration_s: float = Field(gt=0)
    warm_up_s: float = Field(ge=0)
    overload_s: float = Field(gt=0)
    parts: list[Part]
    tolerance: float = Field(default=0.1, gt=0)
    stitch: bool = False
    seed: int = 0
    max_attempts: int = Field(default=3, ge=1)

    def duration_of(self, part: Part) -> float:
        """Return the duration in s of the measured time of a cell."""
        return self.overload_s if part in {"overload", "recovery"} else self.duration_s

    @property
    def setting_repetitions(self) -> int:
        """Repetitions of the part ``setting``."""
        return 1 if self.repetitions < 3 else 2

    @property
    def noise_repetitions(self) -> int:
        """Repetitions of the part ``noise``; with fewer than five pairs, its intervals are too wide."""
        return max(self.repetitions, 5) if self.repetitions >= 3 else self.repetitions

    @property
    def confirmations(self) -> int:
        """Equal answers that the search for the maximum requires at both of its limits."""
        return 1 if self.repetitions < 3 else 2

    @property
    def top_rate_hz(self) -> float:
        """Rate of the part ``setting``, and first rate of the search for the maximum."""
        return max(self.rates_hz)


class Machine(Settings):
    """The machine on which a comparison ran.

    Parameters
    ----------
    hostname, system, cpu
        Name, operating system with its kernel, and processor model.
    cores
        Logical CPUs that the process may use.
    memory_bytes
        Total memory.
    gpus
        Names of the GPUs.
    """

    hostname: str
    system: str
    cpu: str
    cores: int
    memory_bytes: int
    gpus: list[str] = Field(default_factory=list[str])


class ChosenSetting(Settings):
    """Best setting of an engine, from the part ``setting``.

    Parameters
    ----------
    engine, model
        The engine and the model bundle.
    setting
        The setting.
    reason
        Why it was chosen, with the figures that it was compared with, in one line.
    """

    engine: Engine
    model: str
    setting: EngineSetting
    reason: str


class Comparison(Settings):
    """The file ``comparison.json`` of a results folder.

    Parameters
    ----------
    format
        Version of the folder's format.
    plan
        What was to be measured.
    machine
        The machine on which it ran.
    command
        The exact command.
    versions
        Versions of Charon, Python and the packages that affect the figures, by name.
    commit
        Commit of the checkout, with ``-dirty`` if it contains changes; None outside a checkout.
    started_ns, ended_ns
        Start and end, ns since 1970; the end is None while it runs or after an interrupt.
    settings
        Chosen settings.
    """

    format: Literal[1] = FORMAT
    plan: Plan
    machine: Machine
    command: str
    versions: dict[str, str]
    commit: str | None
    started_ns: int
    ended_ns: int | None = None
    settings: list[ChosenSetting] = Field(default_factory=list[ChosenSetting])
