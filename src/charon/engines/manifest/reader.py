"""A manifest from its text; what is wrong with it in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from charon.engines.manifest.pipeline import Pipeline
from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


MAX_CHARACTERS = 16 << 20
"""Most that a manifest's file has, with all that stands beside the Pipeline."""
_TOLD = 20


def read_pipeline(path: Path) -> Pipeline:
    """Read a Pipeline manifest.

    Raises
    ------
    UsageError
        If the file is missing, no YAML, no Pipeline, or has a field that Numaflow does not know.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_CHARACTERS + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"{path} is larger than {MAX_CHARACTERS >> 20} MiB: that is no manifest")
    return parse_pipeline(text, str(path))


def parse_pipeline(text: str, where: str) -> Pipeline:
    """Return the Pipeline that a manifest's text holds, among other objects or alone.

    Parameters
    ----------
    text
        YAML.
    where
        Where it was read from, for messages.

    Raises
    ------
    UsageError
        If it is no YAML, holds no Pipeline or several, or has a field that Numaflow does not know.
    """
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    except (ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError) as error:
        # A date of a 13th month, a tag that does not fit, a thousand brackets: PyYAML passes on what it meets.
        raise UsageError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    found = [d for d in documents if isinstance(d, dict) and d.get("kind") == "Pipeline"]
    if len(found) != 1:
        kinds = ", ".join(_kind(d.get("kind")) for d in documents[:_TOLD] if isinstance(d, dict)) or "nothing"
        raise UsageError(f"{where} holds {kinds}; one Pipeline is needed")
    try:
        return Pipeline.model_validate(found[0])
    except ValidationError as error:
        raise UsageError(f"{where}: {_first_error(error, found[0])}") from error


def _kind(named: object) -> str:
    """Return a kind for a message: what aliases blow up is not written out."""
    return " ".join(named.split())[:80] if isinstance(named, str) else "an object without a kind"


def _first_error(error: ValidationError, document: dict[str, Any]) -> str:
    """Say what is wrong, and where, in one line."""
    lines: list[str] = []
    for found in error.errors():
        where = ""
        node: Any = document
        for step in found["loc"]:
            node = _step(node, step)
            name = node.get("name") if isinstance(step, int) and isinstance(node, dict) else None
            where += f"[{name or step}]" if isinstance(step, int) else (f".{step}" if where else str(step))
        what = "unknown field" if found["type"] == "extra_forbidden" else found["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {what}" if where and not found["msg"].startswith("Value error") else what)
    return "; ".join(lines)


def _step(node: Any, step: int | str) -> Any:  # noqa: ANN401 - a node of a YAML document
    if isinstance(node, list) and isinstance(step, int) and step < len(node):
        return node[step]
    return node.get(step) if isinstance(node, dict) else None
