"""Exceptions that PyYAML raises for invalid text, and their description in one line."""

from __future__ import annotations

import yaml

YAML_ERRORS = (yaml.YAMLError, ValueError, ArithmeticError, LookupError, AttributeError, TypeError, RecursionError)
"""PyYAML lets other exceptions escape: for a date with a 13th month, an invalid tag, a thousand brackets."""


def describe_yaml_error(error: Exception) -> str:
    """Return the position and cause of a YAML error as one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {' '.join(str(error.problem).split())}"
    return " ".join(str(error).split())
