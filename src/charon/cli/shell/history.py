"""Command history of the prompt: a file that only its owner can read, without secrets."""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING

import click
from prompt_toolkit.history import History

from charon.cli.shell.interpreter import SHELL_COMMANDS, parse_command
from charon.cli.shell.tokenizer import LineError, join_lines
from charon.settings import environment
from charon.settings.paths import state_folder

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAX_LINES = 2000
_SENSITIVE = (
    r"(?:pass(?:word|wd|phrase|code)?|pwd|pw|secret|token|credentials?|auth|bearer"
    r"|(?:api|access|private|secret)[-_]?key)"
)
_SECRET = re.compile(
    "|".join(
        (
            rf"{_SENSITIVE}[\w.-]*[\"']?\s*[=:]\s*\S",  # ANSIBLE_BECOME_PASS=…, {"password": …}, --from-literal=token=…
            rf"(?:^|\s)--?[\w.-]*{_SENSITIVE}[\w.-]*\s+\S",  # --token …
            rf"\b{_SENSITIVE}\s+is\b",
            r"\bcreate\s+(?:\S+\s+)*?(?:secret|token)\b",
            r"://[^/\s@]+@|://[^/\s@]*:[^\s@]*[^\s@\d/][^\s@]*@",  # https://token@host, https://me:…@host
            r"(?:^|\s)-u\s*[\w.-]+:\S|\bstringData\b",  # curl -u me:…
            r"\b(?:bearer|basic)\s+\S",
            r"-----BEGIN|\beyJ[\w-]{8,}|\bgh[opsu]_\w{8,}|\bglpat-\w{8,}|\bAKIA\w{8,}",
        )
    ),
    re.IGNORECASE,
)


def is_recordable(line: str) -> bool:
    """Return whether a line may be saved.

    Lines that start with a space, look like they contain a secret, or are not a command are not saved: the last could
    be a password that was typed at the prompt by mistake.
    """
    if line[:1].isspace() or _SECRET.search(line):
        return False
    try:
        words = parse_command(line)
    except LineError:
        return False
    return bool(words) and (words[0] in SHELL_COMMANDS or words[0].startswith("-"))


def history_path() -> Path | None:
    """Return ``$XDG_STATE_HOME/charon/history`` or ``~/.local/state/charon/history``, None without a home folder."""
    if not environment.get("XDG_STATE_HOME") and not environment.get("HOME"):
        return None
    return state_folder() / "history"


class FileHistory(History):
    """History in a file, one command per line.

    After the first file error, which is reported once, the history is kept in memory only.

    Parameters
    ----------
    path
        The file; None if there is no home folder.
    """

    def __init__(self, path: Path | None) -> None:
        super().__init__()
        self._path = path
        self._failed = False
        if path is None:
            self._fail("neither XDG_STATE_HOME nor HOME is set")
            return
        try:
            _prepare(path)
        except FileExistsError as error:
            self._fail(f"{error.filename} is not a folder")
        except OSError as error:
            self._fail(f"{path}: {error.strerror}")

    def append_string(self, string: str) -> None:
        """Add each command of an input, except secrets and repetitions of the last command."""
        for line in join_lines(string):
            if not _SECRET.search(line) and line.strip() and self._loaded_strings[:1] != [line]:
                super().append_string(line)

    def load_history_strings(self) -> Iterable[str]:
        """Return the saved lines, the latest first."""
        if self._path is None or self._failed:
            return []
        try:
            lines = _read(self._path)
        except OSError as error:
            self._fail(f"{self._path}: {error.strerror}")
            return []
        return lines[::-1]

    def store_string(self, string: str) -> None:
        """Save a line if it is recordable."""
        if self._path is not None and not self._failed and is_recordable(string):
            try:
                _append(self._path, string)
            except OSError as error:
                self._fail(f"{self._path}: {error.strerror}")

    def _fail(self, reason: str) -> None:
        self._failed = True
        click.echo(f"warning: history is not saved: {reason}", err=True)


def _prepare(path: Path) -> None:
    """Create the file, readable by its owner only, and remove the oldest lines of a long one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.fchmod(file.fileno(), 0o600)
        lines = file.read().splitlines(keepends=True)
        if len(lines) > 2 * MAX_LINES:
            # In place: another shell that waits for the lock has this file open.
            file.seek(0)
            file.writelines(lines[-MAX_LINES:])
            file.truncate()


def _append(path: Path, line: str) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600), "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line.encode("utf-8", "surrogateescape") + b"\n")


def _read(path: Path) -> list[str]:
    return [line.decode("utf-8", "surrogateescape") for line in path.read_bytes().splitlines()[-MAX_LINES:]]
