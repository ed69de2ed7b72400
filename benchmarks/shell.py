"""Measure the shell: time to the prompt, memory, and completion, including an unresponsive cluster."""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import psutil

if TYPE_CHECKING:
    from collections.abc import Generator

STARTS = 9
CHARONCTL = [str(Path(sys.executable).parent / "charonctl")]


def measure_shell() -> dict[str, Any]:
    """Measure the prompt over several starts, and Tab on each kind of word."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = _environment(folder)
        _start(environment, folder)  # compiles the bytecode
        prompts = [_start(environment, folder) for _ in range(STARTS)]
        with _unresponsive_cluster(folder) as kubeconfig:
            environment["KUBECONFIG"] = str(kubeconfig)
            tab = subprocess.run(
                [sys.executable, __file__], env=environment, cwd=folder, check=True, capture_output=True, text=True
            )
    return {
        "prompt_s": round(statistics.median(seconds for seconds, _, _ in prompts), 3),
        "prompt_cpu_s": round(statistics.median(cpu for _, cpu, _ in prompts), 3),
        "prompt_max_s": round(max(seconds for seconds, _, _ in prompts), 3),
        "prompt_rss_mib": max(rss for _, _, rss in prompts),
        **json.loads(tab.stdout),
    }


def _environment(folder: Path) -> dict[str, str]:
    variables = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONDONTWRITEBYTECODE", "KUBECONFIG"}
    }
    bytecode = str(folder / "bytecode")
    return {**variables, "HOME": str(folder), "TERM": "xterm-256color", "PYTHONPYCACHEPREFIX": bytecode}


def _start(environment: dict[str, str], folder: Path) -> tuple[float, float, int]:
    """Return the time to the prompt and its CPU time in s, and the resident memory of the shell in MiB."""
    started = time.perf_counter()
    child = pexpect.spawn(CHARONCTL[0], env=environment, cwd=str(folder), timeout=30)
    try:
        child.expect("charon>")
        seconds = time.perf_counter() - started
        shell = psutil.Process(child.pid)
        cpu, rss = shell.cpu_times(), shell.memory_info().rss
        child.sendeof()
        child.expect(pexpect.EOF)
    finally:
        child.close(force=True)
    return seconds, cpu.user + cpu.system, round(rss / 2**20)


@contextmanager
def _unresponsive_cluster(folder: Path) -> Generator[Path]:
    """Create the kubeconfig of a cluster that accepts connections and never responds."""
    with socket.socket() as server_socket:
        server_socket.bind(("127.0.0.1", 0))
        server_socket.listen()
        path = folder / "kubeconfig"
        server = f"http://127.0.0.1:{server_socket.getsockname()[1]}"
        here = {"name": "here", "cluster": {"server": server}}
        context = {"name": "here", "context": {"cluster": "here", "user": ""}}
        document = {"kind": "Config", "current-context": "here", "clusters": [here], "contexts": [context]}
        path.write_text(json.dumps({"apiVersion": "v1", **document}))
        yield path


LINES = {
    "commands": "st",
    "options": "run --lo",
    "files": "run file-",
    "kubectl_verbs": "kubectl po",
    "pods_of_unresponsive_cluster": "kubectl get pods ",
    "pipelines_of_unresponsive_cluster": "stop ",
    "metrics_of_unresponsive_prometheus": "metrics {url} --query u",
}


def tab_times() -> dict[str, Any]:
    """Press Tab 20 times on each kind of word; return the maximum time of each in ms, and the memory afterwards."""
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from charon.cli.shell.completion import ShellCompleter

    for number in range(1000):
        Path(f"file-{number}.yaml").touch()
    url = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]["server"]
    completer = ShellCompleter(list)
    max_ms: dict[str, float] = {}
    candidates: dict[str, int] = {}
    late = 0
    try:
        for kind, line in LINES.items():
            if kind.startswith("kubectl") and shutil.which("kubectl") is None:
                continue
            document = Document(line.format(url=url))
            for _ in range(20):
                started = time.perf_counter()
                completions = list(completer.get_completions(document, CompleteEvent(completion_requested=True)))
                duration_ms = round((time.perf_counter() - started) * 1e3, 1)
                max_ms[kind] = max(max_ms.get(kind, 0.0), duration_ms)
                late += bool(completions) and duration_ms > 100
                candidates[kind] = len(completions)
                time.sleep(0.05)
    finally:
        completer.close()
    rss = psutil.Process().memory_info().rss
    return {
        "tab_max_ms": max_ms,
        "tab_candidates": candidates,
        "tab_late": late,
        "rss_mib_after_completions": round(rss / 2**20),
    }


if __name__ == "__main__":
    print(json.dumps(tab_times()))
