"""Compare stitched phases with the ground truth for the shipped bundles.

Held-out simulated samples: a snake scan of 900 frames, 0.1 um apart, a million photons per frame, patches stitched
with the weights of the card. Measured Siemens star: the frames whose patch is in the half that was not used for
training, compared with an iterative reconstruction (rPIE) of the same data; skipped if the data are missing.

    python benchmarks/quality.py [--frames N] [--star FOLDER] [BUNDLE ...]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from charon.adapters.inference.bundle import load_bundle, shipped_bundles
from charon.adapters.models.evaluate import evaluate
from charon.adapters.models.siemens_star import evaluate_star, load_star
from charon.science.simulation import (
    Experiment,
    Instrument,
    demo_sample,
    make_scan,
    siemens_star,
    tungsten_test_pattern,
)

if TYPE_CHECKING:
    from charon.science.quality import PhaseQuality

STAR = Path(__file__).resolve().parents[2] / "shared" / "data" / "siemens_star"


def main() -> None:
    """Print one line of JSON for each bundle and sample."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", nargs="*", default=sorted(shipped_bundles()))
    parser.add_argument("--frames", type=int, default=900)
    parser.add_argument("--star", type=Path, default=STAR)
    options = parser.parse_args()
    for name in options.bundles:
        bundle = load_bundle(name)
        if bundle.card.input.detector_shape == (128, 128):
            if options.star.exists():
                show(name, "measured-siemens-star", evaluate_star(bundle, load_star(options.star)))
            continue
        for sample in (demo_sample(), tungsten_test_pattern(), siemens_star()):
            # Multiples of 20 nm are multiples of the pixel for every bundle.
            positions = np.rint(make_scan("snake", options.frames) / 20e-9) * 20e-9
            show(name, sample.name, evaluate(bundle, Experiment(Instrument(), sample, positions, seed=5)))


def show(bundle: str, sample: str, quality: PhaseQuality) -> None:
    """Print the figures of one comparison as JSON."""
    print(json.dumps({"bundle": bundle, "sample": sample, **asdict(quality)}), flush=True)


if __name__ == "__main__":
    main()
