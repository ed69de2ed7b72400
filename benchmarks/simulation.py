"""Measure the simulation of frames of 512 x 512 pixels with photon noise on one core.

On an idle core of an AMD Zen 3: 6.3 ms per frame (median), 160 frames/s; 1.6 ms for propagation and 4.3 ms for
exact Poisson counts (8.3 ms with NumPy's sampler).

    OMP_NUM_THREADS=1 python benchmarks/simulation.py
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from charon.science.simulation import Experiment, Instrument, demo_sample, make_scan
from charon.science.simulation.photon_noise import draw_counts

if TYPE_CHECKING:
    from collections.abc import Callable


def main() -> None:
    """Print minimum and median time of each step in ms."""
    experiment = Experiment(Instrument(), demo_sample(), make_scan("spiral", 200))
    expected = experiment.expected(5)
    rng = np.random.default_rng(0)
    show("propagation", lambda: experiment.expected(5))
    show("counts", lambda: draw_counts(expected, rng))
    show("counts by NumPy", lambda: rng.poisson(expected))
    show("frame", lambda: experiment.frame(5))


def show(name: str, work: Callable[[], object], repeats: int = 100) -> None:
    """Print minimum and median time of a step in ms."""
    work()
    durations: list[float] = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        durations.append((time.perf_counter() - started) * 1e3)
    print(f"{name:16} {min(durations):6.2f} ms minimum, {np.median(durations):6.2f} ms median")


if __name__ == "__main__":
    main()
