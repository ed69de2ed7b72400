"""What a word of a line may become: from the commands themselves, from files, from the cluster, from Prometheus."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from click.shell_completion import ShellComplete

from charon.cli.registry import COMMANDS, CONTEXT_SETTINGS, LazyGroup, load_command
from charon.cli.run_records import records
from charon.cli.shell.files import files
from charon.cli.shell.lines import KNOWN, LEAVING
from charon.cli.shell.lookup_cache import Answers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from charon.adapters.kubernetes.completion import Completions, KubectlCompleter

_ABOUT = {"help": "show what there is, or what a command takes", **dict.fromkeys(LEAVING, "leave the shell")}
_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*$")
_ROOT = LazyGroup(context_settings=CONTEXT_SETTINGS)
_URL = re.compile(r"https?://\S+")
_FOLDER_S, _NAMES_S, _COMMAND_S = 0.5, 10.0, 3600.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a word may become.

    Parameters
    ----------
    value
        The word.
    about
        What it is, in a few words.
    whole
        Whether it is at its end; a folder is not.
    shown
        What is shown in its place, where it is long.
    """

    value: str
    about: str = ""
    whole: bool = True
    shown: str = ""


class Candidates:
    """Finds what the next word may be.

    Parameters
    ----------
    history
        Returns the lines that were typed before, the oldest first.
    """

    def __init__(self, history: Callable[[], Sequence[str]]) -> None:
        self._history = history
        self._answers = Answers(_NAMES_S)
        self._suggestions: KubectlCompleter | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        """End the processes that still ask the cluster."""
        if self._suggestions is not None:
            self._suggestions.close()

    def find(self, before: list[str], begun: str, until: float) -> list[Candidate]:
        """Return what the word that is begun may become, not all of which fits what it begins with.

        Parameters
        ----------
        before
            The words before it.
        begun
            What there is of it.
        until
            Moment, in s of the monotonic clock, at which an answer is too late.
        """
        if not before:
            return [Candidate(name, _about(name)) for name in KNOWN]
        command, words = before[0], before[1:]
        if command == "help":
            return [] if words else [Candidate(name, _about(name)) for name in KNOWN if name != "help"]
        if command == "kubectl":
            return self._of_kubectl(words, begun, until)
        if command not in COMMANDS:
            return []
        special = self._special(command, words, begun, until)
        return self._of_command(before, begun, until) if special is None else special

    def _special(self, command: str, words: list[str], begun: str, until: float) -> list[Candidate] | None:
        """Return what only a cluster, a Prometheus or earlier runs can tell; None where the command itself can."""
        previous = words[-1] if words else ""
        if command == "metrics":
            if previous == "--query":
                return self._metrics(words, "", begun, until)
            if begun.startswith("--query="):
                return self._metrics(words, "--query=", begun.removeprefix("--query="), until)
            if previous == "--run":
                return [Candidate(name) for name in self._answers.get("runs", _recorded, until=until) or []]
            if not begun.startswith("-") and not any(map(_URL.match, words)) and not previous.startswith("-"):
                return [Candidate(url) for url in self._urls([])]
        if command in {"stop", "status"} and not begun.startswith("-"):
            return self._pipelines([word for word in words if not word.startswith("-")], previous, until)
        return None

    def _of_command(self, before: list[str], begun: str, until: float) -> list[Candidate]:
        """Return what the command's own definition says: options, choices, commands of a group; else files."""
        # The command is imported in the background.
        loaded = self._answers.get(
            ("command", before[0]), lambda: load_command(before[0]), until=until, keep_s=_COMMAND_S
        )
        if loaded is None:
            return []

        items = ShellComplete(_ROOT, {}, "charonctl", "").get_completions(before, begun)
        option, value = _parted(begun)
        if any(item.type in {"file", "dir"} for item in items):
            folders_only = all(item.type == "dir" for item in items)
            return self._files(value, until, option, folders_only=folders_only)
        if items:
            return [Candidate(option + str(item.value), item.help or "") for item in items]
        return [] if value.startswith("-") else self._files(value, until, option)

    def _of_kubectl(self, words: list[str], begun: str, until: float) -> list[Candidate]:
        suggestions = self._answers.get("kubectl", self._open, until=until, keep_s=_COMMAND_S)
        if suggestions is None:
            return []
        # All words of a kind are asked for at once and chosen from here: so the next letter asks nothing.
        stem = begun[: max(map(begun.rfind, "/=,")) + 1]
        if not stem and begun.startswith("-"):
            stem = "--" if begun.startswith("--") else "-"
        found: Completions | None = self._answers.get(
            ("kubectl", *words, stem), lambda: suggestions.complete(words, stem), until=until
        )
        if found is None:
            return []
        option, value = _parted(begun)
        if found.files:
            return self._files(value, until, option)
        return [
            Candidate(word if word.startswith(option) else option + word, about, found.append_space)
            for word, about in found.words
        ]

    def _pipelines(self, given: list[str], previous: str, until: float) -> list[Candidate]:
        """Return the pipelines that run, and where one is given, its namespaces."""
        on_cluster = self._answers.get("pipelines", lambda: self._open().pipelines(), until=until) or []
        if given or previous in {"-n", "--namespace"}:
            spaces = {space for space, name in on_cluster if not given or name == given[0]}
            return [Candidate(space, "namespace") for space in sorted(spaces)]
        here = self._answers.get("here", _local, until=until, keep_s=2.0) or []
        found = [Candidate(name, "on this machine") for name in here]
        by_name: dict[str, list[str]] = {}
        for space, name in on_cluster:
            by_name.setdefault(name, []).append(space)
        return found + [Candidate(name, f"in {', '.join(by_name[name])}") for name in sorted(by_name)]

    def _metrics(self, words: list[str], option: str, begun: str, until: float) -> list[Candidate]:
        """Return the query with each name that the metric at its end may have."""
        urls = self._urls(words)
        if not urls:
            return []
        names = self._answers.get(("metrics", urls[0]), lambda: _metric_names(urls[0]), until=until, keep_s=60.0) or []
        found = _METRIC.search(begun)
        head = option + (begun[: found.start()] if found else begun)
        return [Candidate(head + name, whole=False, shown=name) for name in names]

    def _urls(self, words: Sequence[str]) -> list[str]:
        """Return the addresses of Prometheus at hand: in the line, else in those before, the latest first."""
        in_line = [word for word in words if _URL.fullmatch(word)]
        if in_line:
            return in_line
        asked = [line for line in reversed(self._history()) if "metrics" in line]
        return list(dict.fromkeys(found[0].strip("'\"") for found in map(_URL.search, asked) if found))

    def _files(self, begun: str, until: float, option: str = "", *, folders_only: bool = False) -> list[Candidate]:
        # By what a name begins with, since of a large folder only so many are looked at.
        paths = self._answers.get(
            ("files", begun, folders_only),
            lambda: files(begun, folders_only=folders_only),
            until=until,
            keep_s=_FOLDER_S,
        )
        return [Candidate(option + path, whole=not path.endswith("/"), shown=_last_part(path)) for path in paths or []]

    def _open(self) -> KubectlCompleter:
        from charon.adapters.kubernetes.completion import KubectlCompleter  # noqa: PLC0415 - imports subprocess

        with self._lock:
            if self._suggestions is None:
                self._suggestions = KubectlCompleter()
            return self._suggestions


def _about(name: str) -> str:
    return _ABOUT[name] if name in _ABOUT else COMMANDS[name][1]


def _parted(begun: str) -> tuple[str, str]:
    """Return the option that a word gives a value, up to its ``=``, and the value; both parts may be empty."""
    name, equals, value = begun.partition("=")
    return (name + equals, value) if equals and name.startswith("-") else ("", begun)


def _last_part(path: str) -> str:
    """Return the name of a file, or of a folder with its slash."""
    return path[path.rstrip("/").rfind("/") + 1 :]


def _local() -> list[str]:
    from charon.engines.embedded import find_runs  # noqa: PLC0415 - imports NATS

    return [run.pipeline for run in find_runs()]


def _recorded() -> list[str]:
    return sorted({record.name for record in records()})


def _metric_names(url: str) -> list[str]:
    import asyncio  # noqa: PLC0415 - slow to import

    from charon.adapters.prometheus.query import PrometheusClient, QueryRange  # noqa: PLC0415 - imports HTTPX

    now_ms = time.time_ns() // 1_000_000

    async def ask() -> list[str]:
        async with asyncio.timeout(2.0), PrometheusClient(url) as client:
            return sorted(await client.metric_names(QueryRange(now_ms - 3_600_000, now_ms, 60_000)))

    return asyncio.run(ask())
