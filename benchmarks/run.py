"""Measure rates, latencies, memory and quality on this machine, print them, and write them to out/bench.json.

    make bench                                         all parts, about 15 minutes
    .venv/bin/python benchmarks/run.py rate latency    only these parts

Parts: start, inference, latency, rate, burst, memory, metrics, shell, simulated, measured, numaflow-sdk. Figures depend
on other load of the machine; the load average before each part is printed with them.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import yaml

from charon.cli.simulated_run import DetectorProcess, run_with_detector, stay_on_loopback
from charon.cli.summary import run_summary
from charon.engines.embedded import EmbeddedEngine, Options
from charon.engines.manifest import read_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from charon.engines.embedded import Snapshot

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
MANIFEST = ROOT / "workflows/aps/numaflow-aps-live.yaml"
OUT = ROOT / "out" / "bench"
Figures = dict[str, Any]


def run_pipeline(name: str, frames: int, detector: Mapping[str, Any], manifest: Path = MANIFEST) -> Figures:
    """Run the pipeline with a simulated detector and return the figures of the run."""
    folder = OUT / name
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)
    options = {"report-period": 0, "scan-id": "scan-1", **detector}
    process = DetectorProcess(folder / "run", options)
    started = time.perf_counter()
    session = run_with_detector(
        read_pipeline(manifest), manifest, Options(output=folder), process, expected=frames, quiet=True
    )
    summary = run_summary(session)
    report = process.report()
    return {
        "requested_hz": detector.get("frame-rate"),
        "achieved_hz": report.get("achieved_hz"),
        **{key: summary[key] for key in ("published", "missed", "accepted", "rejected", "lost", "duplicates")},
        "reconstructed": summary["reconstructed"],
        "detector_published": report.get("published"),
        "latency_ms": summary["latency_ms"],
        "wall_s": round(time.perf_counter() - started, 2),
        "cpu_ms_per_frame": cpu_ms_per_frame(summary),
        "batches": summary["replicas"]["cat.0"]["batches"],
        "rss_mib": {key: round(page["rss_bytes"] / 2**20) for key, page in summary["replicas"].items()},
    }


def cpu_ms_per_frame(summary: Mapping[str, Any]) -> dict[str, float]:
    """Return the CPU time of each process in ms per frame, including its start."""
    frames = max(1, summary["published"])
    parts = {key: page["cpu_s"] for key, page in summary["replicas"].items()}
    parts["nats-server"] = summary["server_cpu_s"]
    return {key: round(seconds / frames * 1e3, 3) for key, seconds in parts.items()}


def measure_start() -> Figures:
    """Time the help text, and the demo from its start to the first image."""
    charonctl = [str(ROOT / ".venv/bin/charonctl")]
    times = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([*charonctl, "help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    folder = OUT / "start"
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)
    started = time.perf_counter()
    demo = subprocess.Popen(
        [*charonctl, "demo", "--output", str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    first = None
    while demo.poll() is None:
        if first is None and (folder / "stitched.png").exists():
            first = time.perf_counter() - started
        time.sleep(0.02)
    return {"help_s": round(sorted(times)[2], 3), "first_image_s": None if first is None else round(first, 2)}


def measure_inference() -> Figures:
    """Run the shipped network alone in batches of 8, on one thread and on all."""
    from charon.adapters.inference import open_backend
    from charon.adapters.inference.bundle import load_bundle

    bundle = load_bundle("ptychonn2-sim")
    counts = np.random.default_rng(0).poisson(4.0, (8, *bundle.card.input.shape)).astype(np.float32)
    figures: Figures = {}
    for kind in ("openvino", "onnxruntime"):
        for threads in (1, os.cpu_count() or 1):
            backend = open_backend(kind, bundle.model_path, threads=threads)
            backend.infer(counts)
            started, runs = time.perf_counter(), 0
            while time.perf_counter() - started < 3.0:
                backend.infer(counts)
                runs += 1
            rate = runs * len(counts) / (time.perf_counter() - started)
            figures[f"{kind}, {threads} thread{'s' if threads > 1 else ''}"] = round(rate)
    return figures


def measure_latency() -> Figures:
    """Measure a scan of 512x512 int16 frames at 100 frames/s, simulated in advance."""
    return run_pipeline("latency", 2304, {"frame-rate": 100, "shape": "48x48", "prepare-all": True, "cache-size": 2304})


def measure_rate() -> Figures:
    """Find the highest frame rate without loss and without a growing backlog."""
    manifest = without_log_sink()
    steps: list[Figures] = []
    best = 0.0
    for rate in (200, 250, 275, 300, 325, 350):
        frames = 12 * rate
        prepared = {"prepare-all": True, "cache-size": 600, "points": 600, "scan": "spiral"}
        figures = run_pipeline(f"rate-{rate}", frames, {"frame-rate": rate, "n-frames": frames, **prepared}, manifest)
        # At a sustainable rate, hardly any backlog remains when the last frame has been published.
        figures["drain_s"] = drain_time_s(OUT / f"rate-{rate}" / "scan-1.h5")
        figures["kept_up"] = figures["missed"] == figures["lost"] == 0 and figures["drain_s"] < 0.25
        steps.append(figures)
        print_figures(f"  {rate} frames/s: {'kept up' if figures['kept_up'] else 'fell behind'}", figures["latency_ms"])
        if not figures["kept_up"]:
            break
        best = figures["achieved_hz"] or rate
    return {"highest_loss_free_hz": round(best, 1), "steps": steps}


def drain_time_s(file: Path) -> float:
    """Return the time in s from the detector's last frame to the last stitched patch."""
    with h5py.File(file) as opened:
        stitched_ns, detector_ns = (
            np.asarray(opened[f"entry_1/times_1/{name}"]).max() for name in ("stitched", "detector")
        )
    return round(float(stitched_ns - detector_ns) / 1e9, 3)


def without_log_sink() -> Path:
    """Write a manifest of the pipeline without its log sink."""
    documents = yaml.safe_load_all(MANIFEST.read_text())
    document = next(document for document in documents if document["kind"] == "Pipeline")
    spec = document["spec"]
    spec["vertices"] = [vertex for vertex in spec["vertices"] if vertex["name"] != "out"]
    spec["edges"] = [edge for edge in spec["edges"] if edge["to"] != "out"]
    path = OUT / "rate.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document))
    return path


def measure_burst() -> Figures:
    """Publish 3,000 frames at 500 frames/s and drain them."""
    figures = run_pipeline(
        "burst",
        3000,
        {"frame-rate": 500, "n-frames": 3000, "points": 600, "scan": "spiral", "prepare-all": True, "cache-size": 600},
    )
    return {**figures, "drain_s": drain_time_s(OUT / "burst" / "scan-1.h5")}


def measure_memory(frames: int = 100_000) -> Figures:
    """Run 100,000 small frames and compare the memory after a tenth of them with the memory at the end."""
    import asyncio

    from charon.cli.session import Session

    folder = OUT / "memory"
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)
    manifest = OUT / "memory.yaml"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(without_log_sink().read_text().replace("ptychonn2-sim", str(tiny_bundle(OUT / "tiny"))))
    detector = DetectorProcess(
        folder / "run",
        {
            "frame-rate": 500,
            "n-frames": frames,
            "sample": "noise",
            "n-x-pixels": 32,
            "n-y-pixels": 32,
            "points": 400,
            "scan": "spiral",
            "report-period": 0,
        },
    )
    series: list[tuple[int, dict[str, int]]] = []

    def finished(snapshot: Snapshot) -> bool:
        sizes = {key: page.process.rss_bytes for key, page in snapshot.pages.items()}
        series.append((snapshot.account.reconstructed, sizes))
        return detector.ended and snapshot.account.in_flight == 0

    engine = EmbeddedEngine(read_pipeline(manifest), manifest, Options(output=folder))
    session = Session(engine, finished=finished, quiet=True)
    try:
        detector.start()
        asyncio.run(session.run())
    finally:
        detector.stop()
    tenth = next(sizes for done, sizes in series if done >= frames // 10)
    summary = run_summary(session)
    return {
        **{key: summary[key] for key in ("published", "missed", "lost", "duplicates", "reconstructed")},
        "rss_mib_at_10_percent": {key: round(value / 2**20, 1) for key, value in tenth.items()},
        "rss_mib_at_the_end": {key: round(value / 2**20, 1) for key, value in series[-1][1].items()},
    }


def tiny_bundle(folder: Path) -> Path:
    """Write a bundle for 32x32 frames whose network returns the counts, to measure everything but inference."""
    import onnx
    from onnx import TensorProto, helper

    from charon.adapters.inference.bundle import write_bundle
    from charon.adapters.inference.card import InputCard, ModelCard, OutputCard, PatchCard

    shape = ["n", 32, 32]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["counts"], ["phase"])],
        "tiny",
        [helper.make_tensor_value_info("counts", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("phase", TensorProto.FLOAT, shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    card = ModelCard(
        name="tiny",
        version="1",
        sha256="0" * 64,
        input=InputCard(detector_shape=(32, 32), crop=(0, 0, 32, 32), binning=1, shape=(32, 32), normalisation="none"),
        outputs=(OutputCard(name="phase", kind="phase", unit="rad"),),
        patch=PatchCard(shape=(32, 32), pixel_m=1e-8, offset="absolute"),
    )
    return write_bundle(folder, model.SerializeToString(), card).path


def measure_simulated() -> Figures:
    """Reconstruct held-out simulated samples and compare them with the ground truth."""
    from charon.cli.ground_truth import compare_with_truth

    figures: Figures = {}
    for sample in ("chart", "star", "tungsten"):
        truth = OUT / f"simulated-{sample}" / "truth.npz"
        scan = {"frame-rate": 150, "shape": "48x48", "prepare-all": True, "cache-size": 2304}
        run_pipeline(f"simulated-{sample}", 2304, {**scan, "sample": sample, "truth": str(truth)})
        figures[sample] = compare_with_truth(truth.parent / "scan-1.h5", truth, truth.parent / "comparison.png")
    return figures


def measure_measured() -> Figures:
    """Replay the measured Siemens star and compare its held-out half with an iterative reconstruction."""
    scan = SHARED / "siemens_star" / "siemens-star-small.npz.bz2"
    if not scan.exists():
        return {"skipped": f"{scan} is missing"}
    sys.path.insert(0, str(ROOT / "tests" / "system" / "engine"))
    from siemens import compare_held_out

    manifest = OUT / "measured.yaml"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(MANIFEST.read_text().replace("ptychonn2-sim", "ptychonn2-siemens"))
    replay = {"input-file": str(scan), "fftshift": True, "position-scale": 29e-9, "position-order": "yx"}
    figures = run_pipeline("measured", 516, {"frame-rate": 60, **replay}, manifest)
    return {**figures, **compare_held_out(OUT / "measured" / "scan-1.h5", scan.parent)}


def measure_metrics() -> Figures:
    """Time `charonctl metrics` with a Prometheus server: 80 queries over an hour, 500 series."""
    import metrics

    if shutil.which("promtool") is None:
        return {"skipped": "promtool is missing: install the package prometheus"}
    return metrics.measure_metrics(OUT / "metrics")


def measure_numaflow_sdk() -> Figures:
    """Run the vertices behind pynumaflow's servers, without Numaflow's own data plane."""
    from numaflow_sdk import measure_numaflow_sdk

    return measure_numaflow_sdk(OUT / "numaflow-sdk")


def measure_shell() -> Figures:
    """Time the shell's prompt and completion."""
    import shell

    return shell.measure_shell()


PARTS: dict[str, Callable[[], Figures]] = {
    "start": measure_start,
    "inference": measure_inference,
    "latency": measure_latency,
    "rate": measure_rate,
    "burst": measure_burst,
    "simulated": measure_simulated,
    "measured": measure_measured,
    "memory": measure_memory,
    "metrics": measure_metrics,
    "numaflow-sdk": measure_numaflow_sdk,
    "shell": measure_shell,
}


def print_figures(title: str, figures: object) -> None:
    """Print figures as one line."""
    print(f"{title}: {json.dumps(figures)}", flush=True)


def main(names: list[str]) -> None:
    """Measure the named parts, or all of them; figures of other parts remain in the file."""
    stay_on_loopback()
    OUT.mkdir(parents=True, exist_ok=True)
    path = ROOT / "out" / "bench.json"
    figures: Figures = json.loads(path.read_text()) if path.exists() else {}
    figures["machine"] = {"processor": processor(), "cores": os.cpu_count(), "python": platform.python_version()}
    for name in names or PARTS:
        before = os.getloadavg()[0]
        measured = PARTS[name]()
        measured = {
            **measured,
            "load_before": round(before, 2),
            "measured": time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime()),
        }
        figures[name] = measured
        print_figures(name, measured)
        path.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"written: {path}")


def processor() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main(sys.argv[1:])
