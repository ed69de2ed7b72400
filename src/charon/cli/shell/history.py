"""The history of the prompt: a file for its owner's eyes, without secrets."""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING

import click
from prompt_toolkit.history import History

from charon.cli.shell.lines import KNOWN, words_of
from charon.cli.shell.words import LineError, lines_of
from charon.settings import environment
from charon.settings.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

KEPT = 2000
_WORD = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|pw|secret|token|credentials?|auth|bearer"
    r"|(?:api|access|private|secret)[-_]?key)"
)
_SECRET = re.compile(
    "|".join(
        (
            rf"{_WORD}[\w.-]*[\"']?\s*[=:]\s*\S",  # ANSIBLE_BECOME_PASS=…, {"password": …}, --from-literal=token=…
            rf"(?:^|\s)--?[\w.-]*{_WORD}[\w.-]*\s+\S",  # --token …
            rf"\b{_WORD}\s+is\b",
            r"\bcreate\s+(?:\S+\s+)*?(?:secret|token)\b",
            r"://[^/\s@]+@|://[^/\s@]*:[^\s@]*[^\s@\d/][^\s@]*@",  # https://token@host, https://me:…@host
            r"(?:^|\s)-u\s*[\w.-]+:\S|\bstringData\b",  # curl -u me:…
            r"\b(?:bearer|basic)\s+\S",
            r"-----BEGIN|\beyJ[\w-]{8,}|\bgh[opsu]_\w{8,}|\bglpat-\w{8,}|\bAKIA\w{8,}",
        )
    ),
    re.IGNORECASE,
)


def keeps(line: str) -> bool:
    """Return whether a line may be written down.

    It may not where it begins with a blank, carries something like a password, or is no command: a password that was
    typed at the prompt by mistake is none.
    """
    if line[:1].isspace() or _SECRET.search(line):
        return False
    try:
        words = words_of(line)
    except LineError:
        return False
    return bool(words) and (words[0] in KNOWN or words[0].startswith("-"))


def history_path() -> Path | None:
    """Return the file: ``$XDG_STATE_HOME/charon/history`` or ``~/.local/state/charon/history``; None without a home."""
    if not environment.get("XDG_STATE_HOME") and not environment.get("HOME"):
        return None
    return state_folder() / "history"


class FileHistory(History):
    """A history that is kept from one start to the next, one command a line.

    What goes wrong with its file is said once; the lines are then known until the shell is left.

    Parameters
    ----------
    path
        The file; None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path
        self._broken = False
        if path is None:
            self._break("there is no home folder: neither XDG_STATE_HOME nor HOME is set")
            return
        try:
            _prepare(path)
        except FileExistsError as error:
            self._break(f"{error.filename} is no folder")
        except OSError as error:
            self._break(f"{path}: {error.strerror}")

    def append_string(self, string: str) -> None:
        """Take in what was typed: each command of it by itself, unless it is the last one again."""
        for line in lines_of(string):
            if not _SECRET.search(line) and line.strip() and self._loaded_strings[:1] != [line]:
                super().append_string(line)

    def load_history_strings(self) -> Iterable[str]:
        """Return the kept lines, the latest first."""
        if self._path is None or self._broken:
            return []
        try:
            kept = _read(self._path)
        except OSError as error:
            self._break(f"{self._path}: {error.strerror}")
            return []
        return kept[::-1]

    def store_string(self, string: str) -> None:
        """Write a line down, where it may be."""
        if self._path is not None and not self._broken and keeps(string):
            try:
                _append(self._path, string)
            except OSError as error:
                self._break(f"{self._path}: {error.strerror}")

    def _break(self, why: str) -> None:
        self._broken = True
        click.echo(f"warning: the history is not kept: {why}", err=True)


def _prepare(path: Path) -> None:
    """Make the file, for its owner alone, and cut it to the lines that are kept."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fchmod(file.fileno(), 0o600)
        lines = file.read().splitlines(keepends=True)
        if len(lines) > 2 * KEPT:
            # In place: another shell that waits for the lock has this very file open.
            file.seek(0)
            file.writelines(lines[-KEPT:])
            file.truncate()


def _append(path: Path, line: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")


def _read(path: Path) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in path.read_bytes().splitlines()[-KEPT:]]
