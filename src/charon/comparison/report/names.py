"""Names and colours of engines, figures and processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from charon.comparison.model import Engine

_Item = TypeVar("_Item")

NEUTRAL = "#8b95a1"


class SetUp(Protocol):
    """A row or condition with a model and a number of replicas."""

    @property
    def model(self) -> str:
        """The model bundle."""
        ...

    @property
    def replicas(self) -> int:
        """Number of inference workers."""
        ...


@dataclass(frozen=True, slots=True)
class EngineName:
    """Names and colour of an engine in the report.

    Parameters
    ----------
    title
        Name in tables and keys.
    phrase
        Name within a sentence.
    color
        Its colour in every figure, from the palette of Okabe and Ito, which colour-blind readers can distinguish.
    guide
        Its description in the guide, by aspect.
    """

    title: str
    phrase: str
    color: str
    guide: dict[str, str]


_PIPELINE_GUIDE = {
    "Architecture": "Event-driven pipeline with vertices",
    "Message coordination": "JetStream-based inter-step buffering",
    "Scaling": "Automatic vertex scaling",
    "Monitoring": "Integrated pipeline metrics",
    "Data flow": "Guaranteed message delivery",
    "Resource management": "Pipeline-level resource allocation",
}
_BASELINE_GUIDE = {
    "Architecture": "Independent deployments",
    "Message coordination": "Direct network communication",
    "Scaling": "Manual deployment scaling",
    "Monitoring": "Per-deployment metrics",
    "Data flow": "Best-effort communication",
    "Resource management": "Per-deployment resource limits",
}

ENGINES: dict[Engine, EngineName] = {
    "embedded": EngineName("Pipeline", "the pipeline", "#0f7cc0", _PIPELINE_GUIDE),
    "baseline": EngineName("PvaPy baseline", "the PvaPy baseline", "#d55e00", _BASELINE_GUIDE),
    "numaflow": EngineName("Numaflow pipeline", "the Numaflow pipeline", "#009e73", _PIPELINE_GUIDE),
    "baseline-pods": EngineName("PvaPy pods", "the PvaPy pods", "#cc79a7", _BASELINE_GUIDE),
}

FIGURE_LABELS = {
    "processed_hz": "throughput",
    **{
        f"{quantile}_{stage}_ms": f"latency {quantile}, {stage}"
        for stage in ("result", "stitched")
        for quantile in ("p50", "p90", "p99", "max")
    },
    "cpu_ms_per_frame": "CPU time per frame",
    "rss_max_bytes": "memory",
    "loss_free_hz": "highest loss-free rate",
}
HIGHER_IS_BETTER = frozenset({"processed_hz", "loss_free_hz"})


@dataclass(frozen=True, slots=True)
class SetUps:
    """Names of models and numbers of replicas, as far as they differ within a comparison.

    Parameters
    ----------
    models, replicas
        All models and numbers of replicas.
    """

    models: frozenset[str]
    replicas: frozenset[int]

    def name(self, model: str, replicas: int) -> str:
        """Return the name of a set-up, such as ``ptychonn2-sim, 2 replicas``; empty if there is only one."""
        return ", ".join(
            [
                *([model] if len(self.models) > 1 else []),
                *([count_replicas(replicas)] if len(self.replicas) > 1 else []),
            ]
        )


def distinct(items: Iterable[_Item]) -> list[_Item]:
    """Return each item once, in order of first appearance."""
    return list(dict[_Item, None].fromkeys(items))


def count_replicas(replicas: int) -> str:
    """Return a number of replicas as text."""
    return f"{replicas} replica{'s' if replicas > 1 else ''}"


def set_ups(rows: Iterable[SetUp]) -> SetUps:
    """Return the names of the set-ups of rows."""
    found = [(row.model, row.replicas) for row in rows]
    return SetUps(frozenset(model for model, _ in found), frozenset(replicas for _, replicas in found))


def titled(*parts: str) -> str:
    """Return the parts of a title that are not empty."""
    return " · ".join(filter(None, parts))


def process_kind(name: str) -> str:
    """Return the name of a process without the number of its replica."""
    kind, _, number = name.rpartition(".")
    return kind if number.isdigit() else name


def tints(color: str, labels: Iterable[str]) -> dict[str, str]:
    """Return tints of a colour, from full to light, by label."""
    names = list(dict.fromkeys(labels))
    step = 0.72 / max(len(names) - 1, 1)
    return {name: _tint(color, min(index * step, index * 0.3)) for index, name in enumerate(names)}


def _tint(color: str, white: float) -> str:
    channels = (int(color[index : index + 2], 16) for index in (1, 3, 5))
    return "#" + "".join(f"{round(channel + (255 - channel) * white):02x}" for channel in channels)
