"""Tab completes commands, files and names on the cluster and in Prometheus, and never blocks."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.request

import psutil
import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from charon.cli.registry import COMMANDS
from charon.cli.shell.completion import LOOKUP_TIMEOUT_S, ShellCompleter
from loopback import free_port

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
# A busy machine delays a completion by less. A lookup that blocks needs at least 2 s.
MAX_DELAY_S = 1.5


class Tab:
    """Presses Tab and records the duration of each completion."""

    def __init__(self):
        self.typed = []
        self.completer = ShellCompleter(lambda: self.typed)
        self.durations_s = []

    def once(self, text):
        """Press Tab once and return the completed lines."""
        started = time.monotonic()
        completions = list(self.completer.get_completions(Document(text), CompleteEvent(completion_requested=True)))
        self.durations_s.append(time.monotonic() - started)
        return [text[: len(text) + completion.start_position] + completion.text for completion in completions]

    def offers(self, text, within_s=20.0):
        """Press Tab until there are completions and return the completed lines."""
        end = time.monotonic() + within_s
        while not (completions := self.once(text)) and time.monotonic() < end:
            time.sleep(0.05)
        return completions


@pytest.fixture
def tab(monkeypatch, environment, work):
    for name in ("HOME", "PATH"):
        monkeypatch.setenv(name, environment[name])
    monkeypatch.chdir(work)
    pressed = Tab()
    yield pressed
    pressed.completer.close()


@pytest.fixture
def cluster(api, monkeypatch):
    """Return a function that starts a fake cluster and selects it by KUBECONFIG."""

    def start(delay_s=0.0):
        server = api(delay_s)
        monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
        return server

    return start


# Commands, options, files


def test_commands_are_completed(tab):
    assert tab.once("") == [f"{name} " for name in (*COMMANDS, "help", "exit", "quit")]
    assert tab.once("st") == ["status ", "stop "]
    assert tab.once("charonctl st") == ["charonctl status ", "charonctl stop "]
    assert tab.once("./charonctl kub") == ["./charonctl kubectl "]
    assert tab.once("charon> kub") == ["charon> kubectl "]
    assert tab.once("help prov") == ["help provision "]
    assert tab.once("help run ") == []
    assert tab.once("fly ") == []
    assert tab.once("exit ") == []


def test_options_and_subcommands_are_completed(tab):
    assert tab.offers("run --loc") == ["run --local "]
    assert tab.offers("run workflows/aps/x.yaml --sto") == ["run workflows/aps/x.yaml --storage "]
    assert tab.offers("run x.yaml --storage ") == ["run x.yaml --storage memory ", "run x.yaml --storage file "]
    assert tab.offers("run x.yaml --storage=f") == ["run x.yaml --storage=file "]
    assert tab.offers("model im") == ["model import "]
    assert "metrics --queries-file " in tab.offers("metrics --")
    assert tab.once("run --no-such") == []


def test_files_are_listed_with_yaml_first(tab, work):
    for name in ("a.txt", "z.yaml", "m.yml", ".hidden.yaml", "it's.yaml", "two words.yaml"):
        (work / name).write_text("")
    (work / "b").mkdir()
    (work / "b" / "inner.yaml").write_text("")
    assert tab.offers("run ") == [
        "run it\\'s.yaml ",
        "run m.yml ",
        "run two\\ words.yaml ",
        "run z.yaml ",
        "run b/",
        "run workflows/",
        "run a.txt ",
    ]
    assert tab.offers("run .") == ["run .hidden.yaml "]
    assert tab.offers("run tw") == ["run two\\ words.yaml "]
    assert tab.offers("run 'tw") == ["run 'two words.yaml' "]
    assert tab.offers('run "it') == ['run "it\'s.yaml" ']
    assert tab.offers("run b/") == ["run b/inner.yaml "]
    assert tab.offers("metrics http://localhost:9090 --output=z") == ["metrics http://localhost:9090 --output=z.yaml "]
    assert tab.offers("run workflows/aps/numaflow-aps.") == ["run workflows/aps/numaflow-aps.yaml "]
    assert tab.once("run nowhere/") == []


def test_tilde_completes_files_in_home(tab, environment):
    from pathlib import Path

    (Path(environment["HOME"]) / "mine.yaml").write_text("")
    assert tab.offers("run ~/mi") == ["run ~/mine.yaml "]


# The cluster


def test_kubectl_verbs_complete_without_cluster(tab):
    assert "kubectl port-forward " in tab.offers("kubectl po")
    assert "kubectl get --all-namespaces " in tab.offers("kubectl get --all")
    assert tab.offers("kubectl get pod -o js") == [
        "kubectl get pod -o json ",
        "kubectl get pod -o jsonpath ",
        "kubectl get pod -o jsonpath-as-json ",
        "kubectl get pod -o jsonpath-file ",
    ]
    assert tab.offers("kubectl apply -f workflows/aps/numaflow-aps.y") == [
        "kubectl apply -f workflows/aps/numaflow-aps.yaml "
    ]


def test_cluster_kinds_and_names_are_completed(tab, cluster):
    cluster()
    assert tab.offers("kubectl get pip") == ["kubectl get pipelines.numaflow.numaproj.io "] or tab.offers(
        "kubectl get pip"
    ) == ["kubectl get pipelines "]
    assert tab.offers("kubectl get pods ") == [
        "kubectl get pods isbsvc-default-js-0 ",
        "kubectl get pods ptychography-in-0-s8ddk ",
    ]
    assert tab.offers("kubectl logs pty") == ["kubectl logs ptychography-in-0-s8ddk "]
    assert tab.offers("kubectl logs -f pty") == ["kubectl logs -f ptychography-in-0-s8ddk "]


def test_pipelines_and_namespaces_are_completed(tab, cluster):
    cluster()
    for command in ("stop", "status"):
        assert tab.offers(f"{command} ") == [f"{command} ptychography ", f"{command} tomography "]
        assert tab.offers(f"{command} ptychography ") == [
            f"{command} ptychography beamline ",
            f"{command} ptychography testing ",
        ]
        assert tab.offers(f"{command} tomography ") == [f"{command} tomography default "]
        assert f"{command} --local " in tab.offers(f"{command} --")


def test_unresponsive_cluster_does_not_block(tab, cluster):
    server = cluster(delay_s=30.0)
    for _ in range(4):
        assert tab.once("stop ") == []
        assert tab.once("kubectl get pods ") == []
        assert tab.once("st") == ["status ", "stop "]
    assert max(tab.durations_s) < LOOKUP_TIMEOUT_S + MAX_DELAY_S
    queries = [p for p in psutil.Process().children() if "kubectl" in p.name()]
    assert queries
    assert len(queries) <= 2  # one per lookup
    tab.completer.close()
    assert psutil.wait_procs(queries, timeout=20)[1] == []
    assert server.requests


def test_names_are_queried_once(tab, cluster):
    server = cluster()
    assert tab.offers("stop ")
    count = len(server.requests)
    for text in ("stop ", "stop p", "stop ptychography ", "status "):
        assert tab.once(text)
    assert len(server.requests) == count


def test_names_are_prefetched_while_typing(tab, cluster):
    server = cluster()
    for text in ("s", "st", "sto", "stop", "stop "):
        tab.completer.prefetch(text)
    end = time.monotonic() + 20
    while not any("pipelines" in path for path in server.requests):
        assert time.monotonic() < end
        time.sleep(0.02)


# Prometheus


@pytest.fixture
def prometheus(tmp_path):
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus not found: install the package prometheus")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 200ms, scrape_timeout: 200ms}\n"
        f"scrape_configs: [{{job_name: itself, static_configs: [{{targets: ['127.0.0.1:{port}']}}]}}]\n"
    )
    command = [program, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/tsdb"]
    with (tmp_path / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(f"{url}/api/v1/label/__name__/values", timeout=5) as response:  # noqa: S310
                    if b"go_goroutines" in response.read():
                        break
            except OSError:
                pass
            assert time.monotonic() < end
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def test_metric_names_are_completed(tab, prometheus):
    line = f"metrics {prometheus} --query "
    assert f"{line}go_goroutines" in tab.offers(line)
    assert tab.offers(f"{line}go_gorou") == [f"{line}go_goroutines"]
    assert tab.offers(f"{line}'sum(rate(go_gorou") == [f"{line}'sum(rate(go_goroutines"]
    assert tab.offers(f"{line}up --query=go_gorou") == [f"{line}up --query=go_goroutines"]
    # A URL from the history works too.
    tab.typed = ["status", f"metrics {prometheus} --list-metrics"]
    assert tab.offers("metrics --query go_gorou") == ["metrics --query go_goroutines"]
    assert tab.offers("metrics ") == [f"metrics {prometheus} "]


def test_unresponsive_prometheus_does_not_block(tab):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for _ in range(5):
            assert tab.once(f"metrics {url} --query u") == []
    assert max(tab.durations_s) < LOOKUP_TIMEOUT_S + MAX_DELAY_S


# On a terminal


def test_terminal_shows_completions(shell, cluster, work):
    server = cluster()
    (work / "mine.yaml").write_text("")
    terminal = shell({"KUBECONFIG": str(server.kubeconfig)})
    for line, *words in (
        ("r", "reclaim", "run", "Make released volumes"),
        ("run m", "ine.yaml"),
        ("run --lo", "cal"),
        ("kubectl port-f", "orward"),
        ("stop ", "ptychography", "in beamline, testing", "tomography"),
    ):
        shown = terminal.tab(line, words)
        assert [word for word in words if word not in shown] == []
    assert terminal.leave()[1] == 0


def test_completed_line_runs(shell):
    terminal = shell()
    for keys in ("hel", "sto"):
        terminal.send(f"{keys}\t")
        # The completed letter is drawn alone or with the rest of the word.
        terminal.wait_for(rb"(?:%b|\x1b\[0m)p\x1b" % keys.encode())
    terminal.send("\r")
    terminal.wait_for("Usage: charonctl stop")
    terminal.prompt()


def test_typing_continues_during_slow_lookup(shell, cluster):
    terminal = shell({"KUBECONFIG": str(cluster(delay_s=30.0).kubeconfig)})
    started = time.monotonic()
    terminal.send("stop \t\x15help stop\r")
    terminal.wait_for("Usage: charonctl stop")
    assert time.monotonic() - started < 25
    terminal.prompt()
    queries = [process for process in terminal.children() if "kubectl" in process.name()]
    assert terminal.leave()[1] == 0
    assert psutil.wait_procs(queries, timeout=20)[1] == []
