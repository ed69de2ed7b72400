"""Measure time and memory of `charonctl metrics`: 80 queries over one hour from a real Prometheus."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

QUERIES, SERIES, STEP_S, SPAN_S = 80, 500, 5, 3600
START = 1_755_528_000


def measure_metrics(folder: Path) -> dict[str, Any]:
    """Fill a Prometheus with one hour of samples and run 80 queries with a step of 5 s."""
    subprocess.run(["/bin/rm", "-rf", str(folder)], check=True)
    folder.mkdir(parents=True)
    write_samples(folder / "samples.txt")
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
    subprocess.run(blocks, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (folder / "prometheus.yml").write_text("{}\n")
    (folder / "queries.txt").write_text("".join(f"frames_{k}\n" for k in range(QUERIES)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    log = (folder / "prometheus.log").open("wb")
    server = subprocess.Popen(
        [
            shutil.which("prometheus") or "prometheus",
            "--config.file=prometheus.yml",
            "--storage.tsdb.path=data",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address={url.removeprefix('http://')}",
        ],
        cwd=folder,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_ready(url)
        return {kind: timed(url, folder, kind) for kind in ("json", "csv", "parquet")}
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        log.close()


def write_samples(path: Path) -> None:
    """Write one hour of gauges: 500 series of 80 metrics, with a sample every 5 s."""
    with path.open("w") as file:
        for k in range(QUERIES):
            file.write(f"# TYPE frames_{k} gauge\n")
            for n in range(k, SERIES, QUERIES):
                labels = f'pipeline="ptychography",vertex="cat",pod="ptychography-cat-{n}",namespace="default"'
                for at in range(START, START + SPAN_S + STEP_S, STEP_S):
                    file.write(f"frames_{k}{{{labels}}} {(at - START) * 101.25 + n / 7} {at}\n")
        file.write("# EOF\n")


def wait_ready(url: str) -> None:
    """Wait until Prometheus is ready."""
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=2) as response:  # noqa: S310 - started by this benchmark
                if response.status == 200:
                    return
        except OSError:
            if time.monotonic() > end:
                raise
        time.sleep(0.1)


def timed(url: str, folder: Path, kind: str) -> dict[str, Any]:
    """Run the command three times; return median time, peak memory, file size and counts."""
    output = folder / f"saved.{kind}"
    times = ["--start", str(START), "--end", str(START + SPAN_S), "--step", str(STEP_S)]
    command = [sys.executable, "-m", "charon.cli.main", "metrics", url, "--queries-file", str(folder / "queries.txt")]
    walls, peaks = [], []
    for _ in range(3):
        started = time.perf_counter()
        process = subprocess.Popen([*command, *times, "--output", str(output)], stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"charonctl metrics failed with status {process.returncode}")
        walls.append(time.perf_counter() - started)
        peaks.append(usage.ru_maxrss / 1024)
    figures = {"wall_s": round(sorted(walls)[1], 2), "peak_mib": round(max(peaks)), "file_mib": size_mib(output)}
    if kind == "json":
        # Only the first line, because a fork counts this process's memory as the child's.
        with output.open() as file:
            figures |= json.loads(file.readline().rstrip().removesuffix(",") + "}")["metadata"]["counts"]
    return figures


def size_mib(path: Path) -> float:
    """Return a file's size in MiB."""
    return round(path.stat().st_size / 2**20, 1)
