"""Measure frames per second of a network for each back end and batch size."""

from __future__ import annotations

import argparse
import importlib.util
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from charon.adapters.inference import open_backend
from charon.adapters.inference.bundle import DEFAULT_BUNDLE, load_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def main() -> None:
    """Print the rate of each back end at each batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_BUNDLE, help="name or folder of a bundle")
    parser.add_argument("--threads", type=int, default=2, help="threads of the back end")
    parser.add_argument("--seconds", type=float, default=1.0, help="duration of each measurement")
    options = parser.parse_args()
    bundle = load_bundle(options.model)
    shape = bundle.card.input.shape
    runs: dict[str, Callable[[NDArray[np.float32]], Any]] = {}
    openvino = open_backend("openvino", bundle.model_path, threads=options.threads)
    runs[f"{openvino.name}, fixed batch sizes"] = openvino.infer
    runs[f"{openvino.name}, dynamic batch size"] = _dynamic_batch(bundle.model_path, options.threads)
    if importlib.util.find_spec("onnxruntime"):
        onnxruntime = open_backend("onnxruntime", bundle.model_path, threads=options.threads)
        runs[onnxruntime.name] = onnxruntime.infer
    rng = np.random.default_rng(1)
    for name, infer in runs.items():
        rates: list[str] = []
        for size in (1, 3, 8, 16):
            counts = rng.poisson(5.0, (size, *shape)).astype(np.float32)
            rates.append(f"{size}: {_rate(infer, counts, options.seconds):.0f}/s")
        print(f"{bundle.card.name}@{bundle.card.version} on {name}: batch " + ", ".join(rates))


def _rate(infer: Callable[[NDArray[np.float32]], Any], counts: NDArray[np.float32], seconds: float) -> float:
    for _ in range(3):
        infer(counts)
    frames, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        infer(counts)
        frames += len(counts)
    return frames / (time.perf_counter() - started)


def _dynamic_batch(model: Path, threads: int) -> Callable[[NDArray[np.float32]], Any]:
    import openvino

    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(str(model), "CPU", config)
    request = compiled.create_infer_request()
    return lambda counts: request.infer([counts], share_inputs=True)


if __name__ == "__main__":
    main()
