"""Resources of the main process of each pod and of the nodes, from /proc in the pods.

They are the same quantities as on one machine: CPU time and resident memory of a process, and the busy time of all
cores. The kernel counts CPU time in units of 10 ms. The shell that reads them counts as other work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from charon.comparison.running.series import MachineSeries, ProcessSeries

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

_TICKS_PER_S = 100
_PAGE_BYTES = 4096

_LOOP = (
    "while :; do t=$(date +%s%N); read -r p </proc/1/stat; read -r m </proc/1/statm; read -r c </proc/stat;"
    ' echo "$t|$p|$m|$c"; sleep 0.5; done'
)
SAMPLE_COMMAND = ("sh", "-c", _LOOP)
"""Command that prints a sample every half second: time, process, memory and node."""


@dataclass(slots=True)
class PodSamples:
    """Samples of one pod.

    Parameters
    ----------
    process
        Series of its main process; one per start of the process.
    node
        Series of its node.
    """

    process: list[ProcessSeries] = field(default_factory=list[ProcessSeries])
    node: MachineSeries = field(default_factory=MachineSeries)


def read_samples(path: Path) -> PodSamples:
    """Return the samples in a file with the output of `SAMPLE_COMMAND`; incomplete lines are ignored."""
    samples = PodSamples()
    previous_s = float("inf")
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        values = _parse(line)
        if values is None:
            continue
        time_ns, cpu_s, rss_bytes, busy_s = values
        if cpu_s < previous_s:
            samples.process.append(ProcessSeries())
        previous_s = cpu_s
        samples.process[-1].add(time_ns, cpu_s, rss_bytes)
        samples.node.add(time_ns, busy_s, 0)
    return samples


def _parse(line: str) -> tuple[int, float, int, float] | None:
    """Return time in ns, CPU time in s, resident memory in bytes, and the node's busy time in s."""
    parts = line.split("|")
    try:
        time_text, process, memory, node = parts
        # The fields after the name in parentheses; user and system time are fields 14 and 15 of the line.
        fields = process.rpartition(")")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
        user, nice, system, _idle, _iowait, _irq, _softirq, steal = (int(v) for v in node.split()[1:9])
        busy_s = (user + nice + system + steal) / _TICKS_PER_S
        return int(time_text), cpu_s, int(memory.split()[1]) * _PAGE_BYTES, busy_s
    except (ValueError, IndexError):
        return None


@dataclass(slots=True)
class NodesSeries:
    """Busy time of all nodes that run a pod of the cell.

    Parameters
    ----------
    nodes
        Series of each node.
    clock_jump_ns
        0: the clocks of the nodes are not checked.
    """

    nodes: Sequence[MachineSeries] = ()
    clock_jump_ns: int = 0

    def busy_between(self, from_ns: int, to_ns: int) -> float:
        """Return the CPU time in s that was used in a window, on all nodes."""
        return sum(node.busy_between(from_ns, to_ns) for node in self.nodes)


@dataclass(slots=True)
class PodResources:
    """Resources of a cell in pods.

    Parameters
    ----------
    processes, detector, own
        Series of the engine's processes by name, of the detector, and of the process that measures; the last is empty,
        because that process runs on no node, or counts as other work.
    machine
        The nodes.
    cores
        Number of cores of the nodes.
    """

    processes: Mapping[str, Sequence[ProcessSeries]]
    detector: ProcessSeries
    machine: NodesSeries
    cores: int
    own: ProcessSeries = field(default_factory=ProcessSeries)


def joined(parts: Iterable[ProcessSeries]) -> ProcessSeries:
    """Return the first of several series, or an empty one."""
    return next(iter(parts), ProcessSeries())
