"""PromQL as text: files of queries, and what is put into a query before it is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from charon.adapters.prometheus.query.times import unix_seconds
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from charon.adapters.prometheus.query.times import Span

_QUOTED = r""""(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`"""
_COMMENT = re.compile(rf"({_QUOTED})|#.*")
_EDGE_OF_RANGE = re.compile(rf"({_QUOTED})|(@\s*)(start|end)\s*\(\s*\)")
_VARIABLE = re.compile(r"\$(namespace|pipeline)\b")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def read_queries(path: Path) -> list[str]:
    """Return the queries of a file: one a line, without comments (from ``#`` on) and blank lines.

    Raises
    ------
    UsageError
        If it cannot be read or holds none.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; name a file with one query a line") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: is no text in UTF-8; name a file with one query a line") from error
    queries = [query for line in text.split("\n") if (query := without_comment(line))]
    if not queries:
        raise UsageError(f"{path}: holds no query; write one PromQL expression a line")
    return queries


def without_comment(line: str) -> str:
    """Return a line of PromQL without its comment; a ``#`` in quotes begins none."""
    return _COMMENT.sub(lambda found: found[1] or "", line).strip()


def fill_in(queries: Iterable[str], values: Mapping[str, str]) -> list[str]:
    """Return the queries with ``$namespace`` and ``$pipeline`` filled in, each once.

    Both stand in regular expressions, as in ``namespace=~"$namespace"``: where no value is known, anything matches.

    Raises
    ------
    UsageError
        If a value is no name of Kubernetes.
    """
    patterns: dict[str, str] = {}
    for name, value in values.items():
        if not _KUBERNETES_NAME.fullmatch(value):
            raise UsageError(f"{name} {value!r} is no Kubernetes name: it has small letters, digits, dots and dashes")
        patterns[name] = value.replace(".", "[.]")
    filled = (_VARIABLE.sub(lambda found: patterns.get(found[1], ".*"), query) for query in queries)
    return list(dict.fromkeys(filled))


def pin_edges(query: str, span: Span) -> str:
    """Return the query with ``@ start()`` and ``@ end()`` as times: in a part of the span they would mean others."""

    def pin(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        return found[2] + unix_seconds(span.start_ms if found[3] == "start" else span.end_ms)

    return _EDGE_OF_RANGE.sub(pin, query)
