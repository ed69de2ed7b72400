"""Read and validate a manifest, and report what is invalid in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import yaml
from pydantic import ValidationError

from charon.adapters.yaml_errors import YAML_ERRORS, describe_yaml_error
from charon.engines.manifest.pipeline import Pipeline
from charon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic_core import ErrorDetails

_MAX_CHARACTERS = 16 << 20
_MAX_LISTED_KINDS = 20
_FAULTS = {
    "extra_forbidden": "unknown field; correct or remove it",
    "missing": "required field is missing; add it",
    "string_pattern_mismatch": "invalid name; use lower case letters, digits and dashes, starting with a letter",
    "too_short": "must not be empty",
}


def read_text(path: Path) -> str:
    """Return the text of a manifest's file.

    Raises
    ------
    UsageError
        If the file is missing, not text, or larger than any manifest.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(_MAX_CHARACTERS + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid YAML (not UTF-8 text)") from error
    if len(text) > _MAX_CHARACTERS:
        raise UsageError(f"{path}: larger than {_MAX_CHARACTERS >> 20} MiB, not a manifest")
    return text


def read_pipeline(path: Path) -> Pipeline:
    """Return the Pipeline in a manifest's file.

    Raises
    ------
    UsageError
        If the file is missing or not YAML, does not contain exactly one Pipeline, or has an invalid or unknown field.
    """
    return parse_pipeline(read_text(path), str(path))


def parse_pipeline(text: str, name: str) -> Pipeline:
    """Return the Pipeline in a manifest's text, which may contain other objects.

    Parameters
    ----------
    text
        YAML.
    name
        File or URL of the text, for messages.

    Raises
    ------
    UsageError
        If the text is not YAML, does not contain exactly one Pipeline, or has an invalid or unknown field.
    """
    try:
        documents: list[Any] = [document for document in yaml.safe_load_all(text) if document is not None]
    except YAML_ERRORS as error:
        raise UsageError(f"{name}: not valid YAML: {describe_yaml_error(error)}") from error
    objects = [cast("dict[str, Any]", document) for document in documents if isinstance(document, dict)]
    pipelines = [document for document in objects if document.get("kind") == "Pipeline"]
    if len(pipelines) != 1:
        kinds = ", ".join(_kind(document.get("kind")) for document in objects[:_MAX_LISTED_KINDS])
        raise UsageError(f"{name}: contains {kinds or 'no object'}; it must contain exactly one Pipeline")
    try:
        return Pipeline.model_validate(pipelines[0])
    except ValidationError as error:
        faults = "; ".join(_describe(details, pipelines[0]) for details in error.errors())
        raise UsageError(f"{name}: {faults}") from error


def _kind(value: object) -> str:
    """Return an object's kind for a message, at bounded length: YAML aliases may expand to any size."""
    return " ".join(value.split())[:80] if isinstance(value, str) else "an object without a kind"


def _describe(details: ErrorDetails, document: dict[str, Any]) -> str:
    """Return a validation error as the path of the field and what is wrong with it."""
    path = ""
    node: object = document
    for step in details["loc"]:
        node = _child(node, step)
        if isinstance(step, int):
            path += f"[{_child(node, 'name') or step}]"
        else:
            path += f".{step}" if path else step
    message = details["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    fault = _FAULTS.get(details["type"], message)
    return f"{path}: {fault}" if path else fault


def _child(node: object, step: int | str) -> object:
    if isinstance(node, list) and isinstance(step, int):
        items = cast("list[object]", node)
        return items[step] if step < len(items) else None
    return cast("dict[object, object]", node).get(step) if isinstance(node, dict) else None
