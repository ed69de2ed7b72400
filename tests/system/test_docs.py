"""Links in the documentation resolve, its commands run, and its generated files are up to date.

Run as a program, this file regenerates ``docs/reference/command-line.md`` and the JSON schemas next to it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, get_args

import click
import pytest

from charon.adapters.inference.card import ModelCard
from charon.cli.main import cli
from charon.cli.registry import COMMANDS
from charon.cli.vertex import vertex
from charon.engines.manifest import Pipeline
from charon.settings.vertex import settings_schema

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMAND_LINE = ROOT / "docs/reference/command-line.md"
SETTINGS_SCHEMA = ROOT / "docs/reference/settings.schema.json"
CARD_SCHEMA = ROOT / "docs/reference/model-card.schema.json"
OUT_OF_DATE = "regenerate it with: .venv/bin/python tests/system/test_docs.py"

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TICKS = re.compile(r"`([^`\n]+)`")
_TOP = ("src/", "docs/", "tests/", "workflows/", "benchmarks/", "requirements/", ".ci/")
_PATH = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
_TESTED = re.compile(r"<!-- test -->\s*^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """A fenced block that the tests run, and its language."""

    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    return [Block(*match) for match in _TESTED.findall(page.read_text())]


def relative(page: Path) -> str:
    return str(page.relative_to(ROOT))


# Links and paths


def anchor(heading: str) -> str:
    """Return the anchor of a heading: lower case, no punctuation, dashes for spaces."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_resolve(page: Path) -> None:
    broken: list[str] = []
    for target in _LINK.findall(_FENCE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, fragment = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        if not linked.exists():
            broken.append(target)
        elif fragment and linked.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", linked.read_text()), re.MULTILINE)
            if fragment not in map(anchor, headings):
                broken.append(target)
    assert not broken


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_named_paths_exist(page: Path) -> None:
    named = {text for text in _TICKS.findall(_FENCE.sub("", page.read_text())) if _PATH.fullmatch(text)}
    missing = [text for text in sorted(named) if text.startswith(_TOP) and not (ROOT / text).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_lines_are_trimmed_and_fences_closed(page: Path) -> None:
    text = page.read_text()
    assert not [line for line in text.splitlines() if line != line.rstrip()]
    assert len(re.findall(r"^```", text, re.MULTILINE)) % 2 == 0


# Commands


def _environment(folder: Path) -> dict[str, str]:
    """Return an environment with its own home folder and pvAccess on free loopback ports."""
    from loopback import isolated_environment  # not on the path when this file runs as a program

    return isolated_environment(
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        HOME=str(folder),
        XDG_STATE_HOME=str(folder / "state"),
    )


def _checkout(folder: Path) -> None:
    """Add a launcher and the manifests to a folder, as in a checkout after its set-up."""
    launcher = folder / "charonctl"
    launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m charon.cli.main "$@"\n')
    launcher.chmod(0o755)
    (folder / "workflows").symlink_to(ROOT / "workflows")


@pytest.mark.system
@pytest.mark.timeout(180)
@pytest.mark.parametrize("page", [page for page in PAGES if blocks_of(page)], ids=relative)
def test_commands_run_as_printed(page: Path, tmp_path: Path) -> None:
    _checkout(tmp_path)
    environment = _environment(tmp_path)
    for block in blocks_of(page):
        program = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
        with (tmp_path / "output").open("w+b") as output:
            process = subprocess.Popen(
                [*program, block.text],
                cwd=tmp_path,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                status = process.wait(120)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            output_text = (tmp_path / "output").read_text(errors="replace")
        assert status == 0, f"{relative(page)}:\n{block.text}\n{output_text[-3000:]}"


# Generated files


def _option(parameter: click.Parameter) -> tuple[str, str]:
    """Return the columns of a parameter in the table: its spelling and its help."""
    if isinstance(parameter, click.Argument):
        name = parameter.human_readable_name
        return (f"`{name}`" if parameter.required else f"`[{name}]`"), "argument"
    if not isinstance(parameter, click.Option):
        raise TypeError(parameter)
    with click.Context(click.Command("charonctl", params=[parameter])) as context:
        record = parameter.get_help_record(context)
    written, text = record if record is not None else (", ".join(parameter.opts), "")
    text = " ".join(text.split())
    # click omits the default of an option without show_default.
    if "[default:" not in text and isinstance(parameter.default, str | int | float) and not parameter.is_flag:
        shown = parameter.default if isinstance(parameter.default, str) else f"{parameter.default:g}"
        text = f"{text} [default: {shown}]"
    return f"`{written}`", text.strip().replace("|", "\\|").replace("<", "&lt;")


def _section(title: str, command: click.Command, level: str = "##") -> list[str]:
    lines = [f"{level} {title}", "", *inspect.cleandoc(command.help or "").splitlines(), ""]
    rows = [_option(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        lines += ["| option | meaning |", "| --- | --- |"]
        lines += [f"| {written.replace('|', chr(92) + '|')} | {text} |" for written, text in rows]
        lines.append("")
    if isinstance(command, click.Group) and command.commands:
        for name, inner in sorted(command.commands.items()):
            lines += _section(f"{title} {name}", inner, "###")
    return lines


def _command(name: str) -> click.Command:
    module, _, attribute = COMMANDS[name][0].partition(":")
    return getattr(importlib.import_module(module), attribute)


def command_line_page() -> str:
    """Return the page that documents the commands and their options."""
    lines = ["# Command line", "", "This page is generated from the commands.", ""]
    lines += [
        "`./charonctl` in a checkout sets up `.venv` on first use. An installed package has `charonctl` on the PATH."
    ]
    lines += ["`charonctl help COMMAND` prints the same as `charonctl COMMAND --help`. The exit status is"]
    lines += ["0 for success, 1 for a failure, and 2 for invalid usage.", ""]
    lines += _section("charonctl", click.Group("charonctl", params=cli.params, help=cli.help))
    lines += ["| command | what it does |", "| --- | --- |"]
    lines += [f"| `{name}` | {summary} |" for name, (_, summary) in COMMANDS.items()]
    lines.append("")
    for name in COMMANDS:
        lines += _section(f"charonctl {name}", _command(name))
    lines += _section("charon-vertex", vertex)
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def supported_fields(part: type[Any]) -> set[str]:
    """Return the names of the manifest fields that the embedded engine supports."""
    fields: set[str] = set()
    for name in part.supported:
        field = part.model_fields[name]
        fields.add(field.alias or name)
        for kind in [field.annotation, *get_args(field.annotation)]:
            if isinstance(kind, type) and hasattr(kind, "supported"):
                fields |= supported_fields(kind)
    return fields


def card_schema() -> str:
    """Return the JSON schema of a bundle's card."""
    schema: dict[str, Any] = ModelCard.model_json_schema(by_alias=True)
    return json.dumps(schema, indent=2) + "\n"


def test_command_page_is_up_to_date() -> None:
    assert COMMAND_LINE.read_text() == command_line_page(), OUT_OF_DATE


def test_manifest_page_lists_supported_fields() -> None:
    page = (ROOT / "docs/reference/manifest.md").read_text()
    named = set(re.findall(r"\w+", " ".join(re.findall(r"^\| (.+?) \|", page, re.MULTILINE))))
    assert supported_fields(Pipeline) - {"name", "value"} <= named


def test_card_schema_is_up_to_date() -> None:
    assert CARD_SCHEMA.read_text() == card_schema(), OUT_OF_DATE


def test_settings_schema_is_up_to_date() -> None:
    assert json.loads(SETTINGS_SCHEMA.read_text()) == settings_schema(), OUT_OF_DATE


if __name__ == "__main__":
    COMMAND_LINE.write_text(command_line_page())
    CARD_SCHEMA.write_text(card_schema())
    SETTINGS_SCHEMA.write_text(json.dumps(settings_schema(), indent=2) + "\n")
