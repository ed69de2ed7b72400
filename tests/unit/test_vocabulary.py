"""The project uses the standard terms of its field: see the vocabulary in CONTRIBUTING.md."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[2]
_WORDS = ROOT / "tests" / "vocabulary.toml"
_SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".sh", ".j2", ".cfg", ".txt", ""}
_FOLDERS = ("src", "tests", "benchmarks", "docs", "ansible", "workflows", "images", ".ci")
# The list itself, the page and the test that quote it, and generated files.
_SKIPPED = ("tests/vocabulary.toml", "tests/unit/test_vocabulary.py", "CONTRIBUTING.md", "requirements/", "LICENSE")
# Characters of a test's name after test_.
_MAX_NAME_LENGTH = 48
# Text of other projects, quoted as they print it.
_QUOTED = "vocabulary: quoted"


@cache
def rules():
    """Return (pattern, pattern of its exceptions or None, replacement) for each entry of the list."""
    entries = []
    for word in tomllib.loads(_WORDS.read_text())["word"]:
        pattern = re.compile(rf"(?<![A-Za-z])(?:{word['pattern']})(?![A-Za-z])", re.IGNORECASE)
        allowed = re.compile("|".join(word["except"]), re.IGNORECASE) if "except" in word else None
        entries.append((pattern, allowed, word["use"]))
    return entries


def violations(text):
    """Return ``line number: phrase (use ...)`` for each phrase of the text that is on the list."""
    hits = []
    for number, line in enumerate(text.splitlines(), 1):
        if _QUOTED in line:
            continue
        for pattern, allowed, use in rules():
            checked = line if allowed is None else allowed.sub(lambda match: " " * len(match[0]), line)
            hits += [f"{number}: {match[0]!r} (use: {use})" for match in pattern.finditer(checked)]
    return hits


def checked_files():
    """Return the files of the project whose text the list applies to."""
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        path
        for path in map(Path, listed)
        if path.suffix in _SUFFIXES
        and (path.parts[0] in _FOLDERS or len(path.parts) == 1)
        and not str(path).startswith(_SKIPPED)
        and (ROOT / path).is_file()
    ]


def help_pages():
    """Return the help page of every command by name."""
    from charon.cli.main import cli
    from charon.cli.vertex import vertex

    pages = {}

    def visit(command, context):
        pages[context.command_path] = command.get_help(context)
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                if child is not None:
                    visit(child, click.Context(child, info_name=name, parent=context))

    for name, command in {"charonctl": cli, "charon-vertex": vertex}.items():
        visit(command, click.Context(command, info_name=name))
    return pages


@pytest.mark.parametrize("folder", [*_FOLDERS, "."])
def test_files_use_the_vocabulary(folder):
    files = [path for path in checked_files() if (path.parts[0] if len(path.parts) > 1 else ".") == folder]
    hits = [f"{path}:{hit}" for path in files for hit in violations((ROOT / path).read_text(errors="replace"))]
    assert not hits, "\n".join(hits)


def test_names_of_tests_are_short():
    names = {
        f"{path}: {name}"
        for path in checked_files()
        if path.parts[0] == "tests" and path.suffix == ".py"
        for name in re.findall(r"def test_(\w+)", (ROOT / path).read_text())
        if len(name) > _MAX_NAME_LENGTH
    }
    assert not names, "\n".join(sorted(names))


def test_help_pages_use_the_vocabulary():
    hits = [f"{name}: {hit}" for name, text in help_pages().items() for hit in violations(text)]
    assert not hits, "\n".join(hits)


@pytest.mark.parametrize(
    "text",
    [
        "hands the frame on",
        "def _take_position(self):",
        "x is no YAML: it is no text",
        "Publish the scan so often",
        "where it is known",
        "the log tells why",
        "passed over an update",
    ],
)
def test_violations_finds_a_listed_phrase(text):
    assert violations(text)


@pytest.mark.parametrize(
    "text",
    [
        "The first run takes about 30 s.",
        "edit it in place",
        "there is no buffer",
        "standard output",
        "a placeholder",
        "the handler understands incoming frames",
        "is no longer supported",
    ],
)
def test_violations_accepts_standard_english(text):
    assert not violations(text)


if __name__ == "__main__":
    prefixes = tuple(sys.argv[1:])
    for path in checked_files():
        if not prefixes or str(path).startswith(prefixes):
            for hit in violations((ROOT / path).read_text(errors="replace")):
                print(f"{path}:{hit}")  # noqa: T201
