"""Find completion candidates: commands and options, files, names on the cluster and in Prometheus."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from click.shell_completion import ShellComplete

from charon.adapters.kubernetes.completion import KubectlCompleter
from charon.cli.registry import COMMANDS, CONTEXT_SETTINGS, LazyGroup, load_command
from charon.cli.run_records import records
from charon.cli.shell.files import matching_paths
from charon.cli.shell.interpreter import EXIT_COMMANDS, SHELL_COMMANDS
from charon.cli.shell.lookup_cache import LookupCache

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charon.adapters.kubernetes.completion import Completions

_BUILT_IN = {"help": "Show help for a command.", **dict.fromkeys(EXIT_COMMANDS, "Leave the shell.")}
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*$")
_URL = re.compile(r"https?://\S+")
_ROOT = LazyGroup(context_settings=CONTEXT_SETTINGS)
_FOLDER_TTL_S, _LOCAL_RUNS_TTL_S, _NAMES_TTL_S, _METRICS_TTL_S, _COMMAND_TTL_S = 0.5, 2.0, 10.0, 60.0, 3600.0
_PROMETHEUS_TIMEOUT_S = 2.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """Candidate for a word.

    Parameters
    ----------
    value
        The completed word.
    description
        A few words that describe it.
    final
        Whether the word is complete, so that a closing quote and a space follow; false for folders.
    display
        Shorter text to show in the menu; the value by default.
    """

    value: str
    description: str = ""
    final: bool = True
    display: str = ""


class Candidates:
    """Finds candidates for the next word of a line.

    Parameters
    ----------
    history
        Returns the lines typed so far, the oldest first.
    """

    def __init__(self, history: Callable[[], Sequence[str]]) -> None:
        self._history = history
        self._cache = LookupCache(_NAMES_TTL_S)
        self._kubectl: KubectlCompleter | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """Terminate the kubectl processes that are still running."""
        if self._kubectl is not None:
            self._kubectl.close()

    def find(self, words: list[str], prefix: str, deadline_s: float) -> list[Candidate]:
        """Return candidates for the word after `words`; some of them may not start with `prefix`.

        Parameters
        ----------
        words
            The preceding words of the line.
        prefix
            The part of the word that is already typed.
        deadline_s
            Time on the monotonic clock after which a result is useless.
        """
        if not words:
            return [Candidate(name, _summary(name)) for name in SHELL_COMMANDS]
        command, arguments = words[0], words[1:]
        if command == "help":
            return [] if arguments else [Candidate(name, _summary(name)) for name in SHELL_COMMANDS if name != "help"]
        if command == "kubectl":
            return self._kubectl_words(arguments, prefix, deadline_s)
        if command not in COMMANDS:
            return []
        names = self._names(command, arguments, prefix, deadline_s)
        return self._parameters(words, prefix, deadline_s) if names is None else names

    def _names(self, command: str, arguments: list[str], prefix: str, deadline_s: float) -> list[Candidate] | None:
        """Return names of pipelines, runs, metrics or URLs, None if the next word is not such a name."""
        previous = arguments[-1] if arguments else ""
        if command == "metrics":
            if previous == "--query":
                return self._metrics(arguments, "", prefix, deadline_s)
            if prefix.startswith("--query="):
                return self._metrics(arguments, "--query=", prefix.removeprefix("--query="), deadline_s)
            if previous == "--run":
                return [
                    Candidate(name) for name in self._cache.get("runs", _recorded_runs, deadline_s=deadline_s) or []
                ]
            if not prefix.startswith("-") and not any(map(_URL.match, arguments)) and not previous.startswith("-"):
                return [Candidate(url) for url in self._urls([])]
        if command in {"stop", "status"} and not prefix.startswith("-"):
            return self._pipelines([word for word in arguments if not word.startswith("-")], previous, deadline_s)
        return None

    def _parameters(self, words: list[str], prefix: str, deadline_s: float) -> list[Candidate]:
        """Return the options, choices and subcommands that click completes, or files."""
        name = words[0]
        # Importing the command can exceed the deadline.
        command = self._cache.get(
            ("command", name), lambda: load_command(name), deadline_s=deadline_s, ttl_s=_COMMAND_TTL_S
        )
        if command is None:
            return []
        items = ShellComplete(_ROOT, {}, "charonctl", "").get_completions(words, prefix)
        option, value = _split_option(prefix)
        if any(item.type in {"file", "dir"} for item in items):
            folders_only = all(item.type == "dir" for item in items)
            return self._files(value, deadline_s, option, folders_only=folders_only)
        if items:
            return [Candidate(option + str(item.value), item.help or "") for item in items]
        return [] if value.startswith("-") else self._files(value, deadline_s, option)

    def _kubectl_words(self, arguments: list[str], prefix: str, deadline_s: float) -> list[Candidate]:
        kubectl = self._kubectl_completer()
        # All words after a stem are queried together and filtered by the caller: more letters need no new query.
        stem = prefix[: max(map(prefix.rfind, "/=,")) + 1]
        if not stem and prefix.startswith("-"):
            stem = "--" if prefix.startswith("--") else "-"
        completions: Completions | None = self._cache.get(
            ("kubectl", *arguments, stem), lambda: kubectl.complete(arguments, stem), deadline_s=deadline_s
        )
        if completions is None:
            return []
        option, value = _split_option(prefix)
        if completions.files:
            return self._files(value, deadline_s, option)
        return [
            Candidate(word if word.startswith(option) else option + word, description, completions.append_space)
            for word, description in completions.words
        ]

    def _pipelines(self, names: list[str], previous: str, deadline_s: float) -> list[Candidate]:
        """Return the running pipelines, or the namespaces of a pipeline that the line already names."""
        on_cluster = self._cache.get("pipelines", self._cluster_pipelines, deadline_s=deadline_s) or []
        if names or previous in {"-n", "--namespace"}:
            namespaces = {namespace for namespace, name in on_cluster if not names or name == names[0]}
            return [Candidate(namespace, "namespace") for namespace in sorted(namespaces)]
        local = self._cache.get("local", _local_pipelines, deadline_s=deadline_s, ttl_s=_LOCAL_RUNS_TTL_S) or []
        by_name: dict[str, list[str]] = {}
        for namespace, name in on_cluster:
            by_name.setdefault(name, []).append(namespace)
        return [Candidate(name, "on this machine") for name in local] + [
            Candidate(name, f"in {', '.join(by_name[name])}") for name in sorted(by_name)
        ]

    def _metrics(self, arguments: list[str], option: str, prefix: str, deadline_s: float) -> list[Candidate]:
        """Return the query with each metric name substituted for the name at its end."""
        urls = self._urls(arguments)
        if not urls:
            return []
        url = urls[0]
        names = self._cache.get(
            ("metrics", url), lambda: _metric_names(url), deadline_s=deadline_s, ttl_s=_METRICS_TTL_S
        )
        match = _METRIC.search(prefix)
        head = option + (prefix[: match.start()] if match else prefix)
        return [Candidate(head + name, final=False, display=name) for name in names or []]

    def _urls(self, arguments: Sequence[str]) -> list[str]:
        """Return the URLs of Prometheus in the line, else those in the history, the latest first."""
        in_line = [word for word in arguments if _URL.fullmatch(word)]
        if in_line:
            return in_line
        lines = [line for line in reversed(self._history()) if "metrics" in line]
        return list(dict.fromkeys(match[0].strip("'\"") for match in map(_URL.search, lines) if match))

    def _files(
        self, prefix: str, deadline_s: float, option: str = "", *, folders_only: bool = False
    ) -> list[Candidate]:
        # Keyed by prefix, because only a limited number of entries is read from a large folder.
        paths = self._cache.get(
            ("files", prefix, folders_only),
            lambda: matching_paths(prefix, folders_only=folders_only),
            deadline_s=deadline_s,
            ttl_s=_FOLDER_TTL_S,
        )
        return [
            Candidate(option + path, final=not path.endswith("/"), display=_base_name(path)) for path in paths or []
        ]

    def _cluster_pipelines(self) -> list[tuple[str, str]]:
        return self._kubectl_completer().pipelines()

    def _kubectl_completer(self) -> KubectlCompleter:
        with self._lock:
            if self._kubectl is None:
                self._kubectl = KubectlCompleter()
            return self._kubectl


def _summary(name: str) -> str:
    return _BUILT_IN[name] if name in _BUILT_IN else COMMANDS[name][1]


def _split_option(prefix: str) -> tuple[str, str]:
    """Split ``--option=value`` after the equals sign; the option is empty if there is none."""
    name, equals, value = prefix.partition("=")
    return (name + equals, value) if equals and name.startswith("-") else ("", prefix)


def _base_name(path: str) -> str:
    """Return the last component of a path, with the trailing slash of a folder."""
    return path[path.rstrip("/").rfind("/") + 1 :]


def _local_pipelines() -> list[str]:
    from charon.engines.embedded import find_runs  # noqa: PLC0415 - imports NATS

    return [run.pipeline for run in find_runs()]


def _recorded_runs() -> list[str]:
    return sorted({record.name for record in records()})


def _metric_names(url: str) -> list[str]:
    from charon.adapters.prometheus.query import PrometheusClient, QueryRange  # noqa: PLC0415 - imports HTTPX

    now_ms = time.time_ns() // 1_000_000

    async def query() -> list[str]:
        async with asyncio.timeout(_PROMETHEUS_TIMEOUT_S), PrometheusClient(url) as client:
            return sorted(await client.metric_names(QueryRange(now_ms - 3_600_000, now_ms, 60_000)))

    return asyncio.run(query())
