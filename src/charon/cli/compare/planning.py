"""From options to a plan, and the checks before anything runs."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from charon.adapters.inference.bundle import BundleError, load_bundle
from charon.adapters.kubernetes.kubeconfig import find_kubectl
from charon.comparison.engines import MEASURABLE
from charon.comparison.model import Plan
from charon.comparison.presets import PLANS
from charon.comparison.schedule import MAX_RATE_HZ
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from charon.comparison.presets import Size

_MIN_FRAMES = 10
"""Smallest number of frames from which quantiles of the latency are computed."""

_CLUSTER_ENGINES = {"numaflow", "baseline-pods"}
# Import names of the packages that a comparison imports only later, and their distributions.
_PACKAGES = {"pvapy": "pvapy", "bokeh": "bokeh", "pyarrow": "pyarrow"}

_FIELDS = {
    "engines": "engines",
    "rates": "rates_hz",
    "model": "models",
    "replicas": "replicas",
    "repetitions": "repetitions",
    "duration": "duration_s",
    "warm_up": "warm_up_s",
    "parts": "parts",
    "stitch": "stitch",
    "seed": "seed",
}
"""Field of the plan that each option sets."""


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """Options of a plan; None or empty for the value of the plan of that size."""

    size: Size
    engines: list[str] | None
    rates_hz: list[float] | None
    models: tuple[str, ...]
    replicas: frozenset[int] | None
    repetitions: int | None
    duration_s: float | None
    warm_up_s: float | None
    parts: list[str] | None
    stitch: bool
    seed: int


def make_plan(options: PlanOptions) -> Plan:
    """Return the plan of the options.

    Raises
    ------
    UsageError
        If the options contradict each other.
    """
    plan = PLANS[options.size]
    given: dict[str, Any] = {
        "engines": options.engines,
        "rates_hz": options.rates_hz,
        "models": list(dict.fromkeys(options.models)) or None,
        "replicas": None if options.replicas is None else sorted(options.replicas),
        "repetitions": options.repetitions,
        "duration_s": options.duration_s,
        "warm_up_s": options.warm_up_s,
        "parts": options.parts,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    changes |= {"stitch": options.stitch, "seed": options.seed}
    _check(options, [*(options.parts or plan.parts)], [*(options.engines or plan.engines)])
    return Plan.model_validate(plan.model_dump() | changes)


def planned_fields(given: Sequence[str]) -> list[str]:
    """Return the fields of the plan that the given options set; ``--quick`` and ``--full`` set all of them."""
    if "quick" in given or "full" in given:
        return list(Plan.model_fields)
    return [_FIELDS[name] for name in given]


def check_machine(plan: Plan) -> dict[str, tuple[int, int]]:
    """Check that a plan can run on this machine, and return the frame shape of each model.

    Raises
    ------
    UsageError
        If a package, a model or a cluster is missing.
    """
    check_packages(_PACKAGES)
    for engine in plan.engines:
        if engine in _CLUSTER_ENGINES:
            try:
                find_kubectl(("get",))
            except UsageError as error:
                raise UsageError(f"engine {engine} requires a cluster: {error}") from error
        if engine not in MEASURABLE:
            raise UsageError(f"engine {engine} cannot be measured yet; use {', '.join(MEASURABLE)}")
    return {model: _shape_of(model) for model in plan.models}


def check_packages(packages: Sequence[str] | dict[str, str]) -> None:
    """Check that packages are installed.

    Raises
    ------
    UsageError
        If one is missing; the message contains the command that installs all missing ones.
    """
    missing = [package for package in packages if not _is_installed(package)]
    if missing:
        names = " ".join(missing)
        raise UsageError(f"compare requires {', '.join(missing)}; run: {sys.executable} -m pip install {names}")


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # set to None in sys.modules
        return False


def _shape_of(model: str) -> tuple[int, int]:
    try:
        return load_bundle(model).card.input.detector_shape
    except BundleError as error:
        raise UsageError(str(error)) from error


def check_rates(plan: Plan) -> None:
    """Check the number of frames in a cell.

    Raises
    ------
    UsageError
        If it is too small for the figures of the cell, or too large for any detector.
    """
    low_hz, high_hz = min(plan.rates_hz), max(plan.rates_hz)
    if high_hz > MAX_RATE_HZ:
        raise UsageError(f"--rates: {high_hz:g}: must be at most {MAX_RATE_HZ:g} frames/s")
    if low_hz * plan.duration_s < _MIN_FRAMES:
        raise UsageError(
            f"--rates: a cell of {plan.duration_s:g} s has fewer than {_MIN_FRAMES} frames at {low_hz:g} frames/s;"
            " raise the rate or --duration"
        )


def _check(options: PlanOptions, parts: list[str], engines: list[str]) -> None:
    if options.replicas is not None and min(options.replicas) < 1:
        raise UsageError(f"--replicas: {min(options.replicas)}: must be at least 1")
    if len(engines) == 1 and parts != ["noise"]:
        raise UsageError(f"--engines: only {engines[0]} is given; add a second engine, or use --parts noise")
    if options.stitch and "baseline-pods" in engines:
        raise UsageError("--stitch: engine baseline-pods has no stitching consumer; remove --stitch or the engine")
    if "overload" in parts and "maximum" not in parts:
        raise UsageError("--parts: overload requires maximum; add maximum")
