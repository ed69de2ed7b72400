"""Read PromQL queries from a file, and substitute their variables and @ modifiers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from charon.adapters.prometheus.query.query_range import unix_seconds
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from charon.adapters.prometheus.query.query_range import QueryRange

_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`"""
_COMMENT = re.compile(rf"({_QUOTED})|#.*")
_AT_MODIFIER = re.compile(rf"({_QUOTED})|(@\s*)(start|end)\s*\(\s*\)")
_VARIABLE = re.compile(r"\$(namespace|pipeline)\b")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def read_queries(path: Path) -> list[str]:
    """Return the queries of a file with one query per line, without ``#`` comments and blank lines.

    Raises
    ------
    UsageError
        If the file cannot be read or contains no query.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; expected a file with one PromQL query per line") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid UTF-8 text; expected one PromQL query per line") from error
    queries = [query for line in text.split("\n") if (query := without_comment(line))]
    if not queries:
        raise UsageError(f"{path}: no queries; write one PromQL query per line")
    return queries


def without_comment(line: str) -> str:
    """Return a line of PromQL without its comment; a ``#`` in quotes does not start one."""
    return _COMMENT.sub(lambda match: match[1] or "", line).strip()


def substitute_variables(queries: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return the queries with ``$namespace`` and ``$pipeline`` replaced, without duplicates.

    Queries use both variables in regular expressions, as in ``namespace=~"$namespace"``; a variable without a value
    matches anything.

    Raises
    ------
    UsageError
        If a value is not a valid Kubernetes name.
    """
    patterns: dict[str, str] = {}
    for name, value in values.items():
        if not _KUBERNETES_NAME.fullmatch(value):
            raise UsageError(
                f"{name} {value!r} is not a valid Kubernetes name; use lower-case letters, digits, dots and dashes"
            )
        patterns[name] = value.replace(".", "[.]")
    substituted = (_VARIABLE.sub(lambda match: patterns.get(match[1], ".*"), query) for query in queries)
    return list(dict.fromkeys(substituted))


def resolve_at_modifiers(query: str, full_range: QueryRange) -> str:
    """Return the query with ``@ start()`` and ``@ end()`` replaced by the times of the full range.

    For a part of a split range, Prometheus would use the start and end of that part.
    """

    def resolve(match: re.Match[str]) -> str:
        if match[1]:
            return match[1]
        return match[2] + unix_seconds(full_range.start_ms if match[3] == "start" else full_range.end_ms)

    return _AT_MODIFIER.sub(resolve, query)
