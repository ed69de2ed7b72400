"""Origin of the figures: machine, versions, command, settings, definitions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from charon.adapters.bokeh.markup import Html, element, join, table
from charon.comparison.report import text
from charon.comparison.report.names import ENGINES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from charon.comparison.model import Comparison

_DEFINITIONS = """\
latency to result: Time from the detector's time stamp of a frame until its result is available. Pipeline: the message \
is acknowledged after inference. Baseline: the result is published on the consumer's channel.
latency to stitched: Time from the detector's time stamp of a frame until its patch is in the stitched image.
p50, p90, p99: Quantiles over all frames after the warm-up, with linear interpolation between order statistics.
offered rate: Rate at which the detector published after the warm-up.
processed rate: Rate at which results became available, from the first to the last frame after the warm-up.
frames without a result (loss): Published frames that were missed (never received), lost (received, without result) or \
rejected; counted by id, including the warm-up.
kept up: Every published frame has a result, and the latency did not grow during the cell.
highest loss-free rate: The highest rate at which the engine kept up, by bisection. At least: the detector, other work \
or an interrupt ended the search before a lossy rate near it was measured.
overload: 1.5 times the engine's own highest loss-free rate.
drain: Time from the detector's last frame to the last result.
inference worker: A replica of the pipeline's inference vertex, or a consumer of the baseline.
replicas: Number of inference workers.
rate recovered after: Time from SIGKILL of an inference worker until results arrive at the offered rate again.
CPU time per frame: User and system time of the engine's processes after the warm-up, per processed frame. The \
detector has its own machine at a beamline and is not included.
memory: Sum of the maximum resident memory of the engine's processes; shared pages are counted in each.
ratio: Geometric mean of the ratios of neighbouring cells of equal repetition. Its 95 % confidence interval is the t \
interval of the logarithms; it requires two repetitions.
invalid: The detector was behind its schedule, other work used the machine, the system clock changed, or the account \
contains unknown frames. The result is excluded from all figures, and the cell was repeated.
"""


def provenance(comparison: Comparison) -> Html:
    """Return machine, versions, commit and chosen settings."""
    machine = comparison.machine
    facts = [
        (
            "Machine",
            f"{machine.hostname}: {machine.cores} cores, {machine.cpu}, {machine.memory_bytes / 2**30:.0f} GiB",
        ),
        ("GPU", ", ".join(machine.gpus) or "none"),
        ("System", machine.system),
        ("Start", text.utc(comparison.started_ns)),
        ("End", text.utc(comparison.ended_ns) if comparison.ended_ns else "not complete: interrupted or still running"),
        ("Commit", comparison.commit or "not a checkout"),
        ("Versions", ", ".join(f"{name} {version}" for name, version in comparison.versions.items())),
    ]
    settings = table(
        ["Engine", "Model", "Batch", "Threads", "Queue", "Reason"],
        [
            [
                ENGINES[chosen.engine].title,
                chosen.model,
                str(chosen.setting.batch),
                str(chosen.setting.threads or "default"),
                str(chosen.setting.queue_size),
                chosen.reason,
            ]
            for chosen in comparison.settings
        ],
        numeric=(2, 3, 4),
    )
    return join([_facts(facts), *([element("h3", "Settings of the engines"), settings] if comparison.settings else [])])


def repetition(comparison: Comparison, folder: str) -> Html:
    """Return the commands that repeat the measurement and write the report again."""
    commands = f"{comparison.command}\ncharonctl compare --from {folder}"
    return join(
        [
            element("p", "The first command repeats the measurement, the second writes this report from its results:"),
            element("pre", commands),
            element(
                "p",
                "The folder contains the raw data: cells/ has the figures of each result, samples/ its frames as JSON "
                "and Parquet, one row per frame.",
            ),
        ]
    )


def definitions() -> Html:
    """Return the definitions of all figures."""
    return _facts([(name, text) for name, _, text in (line.partition(": ") for line in _DEFINITIONS.splitlines())])


def summary(comparison: Comparison) -> str:
    """Return date, machine and commit in one line."""
    machine = comparison.machine
    commit = f", commit {comparison.commit[:10]}" if comparison.commit else ""
    return f"{text.utc(comparison.started_ns)}, {machine.hostname}, {machine.cores} cores, {machine.cpu}{commit}"


def _facts(facts: Iterable[tuple[str, str]]) -> Html:
    return element("dl", *(join([element("dt", name), element("dd", value)]) for name, value in facts))
