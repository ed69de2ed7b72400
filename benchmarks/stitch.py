"""Measure the cost of adding patches to a canvas and of computing the image."""

from __future__ import annotations

import time

import numpy as np

from charon.science.stitch import Canvas


def main() -> None:
    """Print the cost per patch for three sizes, and the cost of the image."""
    rng = np.random.default_rng(1)
    for size in (64, 128, 256):
        for amplitude in (False, True):
            phases = rng.uniform(-1.0, 1.0, (64, size, size)).astype(np.float32)
            positions = rng.uniform(-3e-6, 3e-6, (2048, 2))
            canvas = Canvas(10e-9)
            costs: list[float] = []
            for k, (x, y) in enumerate(positions):
                patch = phases[k % 64]
                started = time.perf_counter()
                canvas.add(patch, (x, y), np.abs(patch) if amplitude else None)
                costs.append(time.perf_counter() - started)
            print(
                f"add {size}x{size}{' with amplitude' if amplitude else '':15} "
                f"p50 {np.median(costs) * 1e3:.3f} ms, mean {np.mean(costs) * 1e3:.3f} ms, p99 "
                f"{np.quantile(costs, 0.99) * 1e3:.3f} ms per patch: {1 / np.mean(costs):.0f}/s on one core"
            )
    started = time.perf_counter()
    copy = canvas.snapshot()
    copied = time.perf_counter()
    image = copy.image()
    done = time.perf_counter()
    print(
        f"image of {image.phase.shape[0]}x{image.phase.shape[1]} pixels: "
        f"snapshot {(copied - started) * 1e3:.1f} ms, phase and amplitude {(done - copied) * 1e3:.1f} ms"
    )


if __name__ == "__main__":
    main()
