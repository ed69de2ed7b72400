"""Times the shell: its prompt, its memory, and what Tab costs, also with a cluster that stays silent."""

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
    """Time the prompt over several starts, and Tab on each kind of word."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = _environment(folder)
        _start(environment, folder)  # writes the bytecode, as the first start on any machine does
        prompts = [_start(environment, folder) for _ in range(STARTS)]
        with _silent_cluster(folder) as kubeconfig:
            environment["KUBECONFIG"] = str(kubeconfig)
            tab = subprocess.run(
                [sys.executable, __file__], env=environment, cwd=folder, check=True, capture_output=True, text=True
            )
    return {
        "prompt_s": round(statistics.median(seconds for seconds, _, _ in prompts), 3),
        "prompt_cpu_s": round(statistics.median(cpu for _, cpu, _ in prompts), 3),
        "prompt_worst_s": round(max(seconds for seconds, _, _ in prompts), 3),
        "prompt_rss_mib": max(rss for _, _, rss in prompts),
        **json.loads(tab.stdout),
    }


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"PYTHONDONTWRITEBYTECODE", "KUBECONFIG"}}
    bytecode = str(folder / "bytecode")
    return {**kept, "HOME": str(folder), "TERM": "xterm-256color", "PYTHONPYCACHEPREFIX": bytecode}


def _start(environment: dict[str, str], folder: Path) -> tuple[float, float, int]:
    """Return how long the prompt took and its processor time, in s, and the shell's resident memory, in MiB."""
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
def _silent_cluster(folder: Path) -> Generator[Path]:
    """Give the kubeconfig of a cluster that takes connections and never answers."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        path = folder / "kubeconfig"
        server = f"http://127.0.0.1:{silent.getsockname()[1]}"
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
    "pods_of_a_silent_cluster": "kubectl get pods ",
    "pipelines_of_a_silent_cluster": "stop ",
    "metrics_of_a_silent_prometheus": "metrics {url} --query u",
}


def tab_times() -> dict[str, Any]:
    """Press Tab twenty times on each kind of word; return the longest time of each in ms, and the memory after it."""
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

    from charon.cli.shell.completion import ShellCompleter

    for number in range(1000):
        Path(f"file-{number}.yaml").touch()
    url = json.loads(Path(os.environ["KUBECONFIG"]).read_text())["clusters"][0]["cluster"]["server"]
    completer = ShellCompleter(list)
    longest: dict[str, float] = {}
    offered: dict[str, int] = {}
    late = 0
    try:
        for kind, line in LINES.items():
            if kind.startswith("kubectl") and shutil.which("kubectl") is None:
                continue
            document = Document(line.format(url=url))
            for _ in range(20):
                started = time.perf_counter()
                found = list(completer.get_completions(document, CompleteEvent(completion_requested=True)))
                took_ms = round((time.perf_counter() - started) * 1e3, 1)
                longest[kind] = max(longest.get(kind, 0.0), took_ms)
                late += bool(found) and took_ms > 100
                offered[kind] = len(found)
                time.sleep(0.05)
    finally:
        completer.close()
    rss = psutil.Process().memory_info().rss
    return {
        "tab_longest_ms": longest,
        "tab_offered": offered,
        "tab_late_answers": late,
        "rss_mib_after_completions": round(rss / 2**20),
    }


if __name__ == "__main__":
    print(json.dumps(tab_times()))
