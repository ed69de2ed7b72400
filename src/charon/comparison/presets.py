"""Plans of ``charonctl compare``: quick, default and full."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from charon.comparison.model import PARTS, Plan

if TYPE_CHECKING:
    from charon.comparison.model import Engine

Size = Literal["quick", "default", "full"]

DEFAULT_ENGINES: list[Engine] = ["embedded", "baseline"]
_DEFAULT_MODEL = "ptychonn2-sim"

PLANS: dict[Size, Plan] = {
    # About 3 minutes on two cores.
    "quick": Plan(
        engines=DEFAULT_ENGINES,
        rates_hz=[100.0],
        models=[_DEFAULT_MODEL],
        replicas=[1],
        repetitions=2,
        duration_s=3.0,
        warm_up_s=1.0,
        overload_s=8.0,
        parts=["load", "maximum", "overload", "recovery"],
        tolerance=0.3,
    ),
    "default": Plan(
        engines=DEFAULT_ENGINES,
        rates_hz=[25.0, 50.0, 100.0, 200.0],
        models=[_DEFAULT_MODEL],
        replicas=[1],
        repetitions=3,
        duration_s=10.0,
        warm_up_s=2.0,
        overload_s=20.0,
        parts=list(PARTS),
        tolerance=0.1,
    ),
    "full": Plan(
        engines=DEFAULT_ENGINES,
        rates_hz=[25.0, 50.0, 100.0, 150.0, 200.0, 300.0],
        models=[_DEFAULT_MODEL, "ptychonn2-siemens"],
        replicas=[1, 2],
        repetitions=5,
        duration_s=20.0,
        warm_up_s=3.0,
        overload_s=20.0,
        parts=list(PARTS),
        tolerance=0.05,
    ),
}
"""Plans by size."""
