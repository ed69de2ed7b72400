"""Query files are parsed and variables substituted; text in quotes is unchanged."""

from __future__ import annotations

import pytest

from charon.adapters.prometheus.query import QueryRange, read_queries, resolve_at_modifiers, substitute_variables
from charon.errors import UsageError


def test_file_has_one_query_per_line(tmp_path):
    path = tmp_path / "q.txt"
    path.write_text("# all\n\n  up  \nrate(x{a=\"#1\"}[1m]) # a comment\n\t# another\nx{b='#\\''}#c\r\n")
    assert read_queries(path) == ["up", 'rate(x{a="#1"}[1m])', "x{b='#\\''}"]


def test_file_may_have_bom_and_crlf(tmp_path):
    path = tmp_path / "q.txt"
    path.write_bytes('\ufeffup\r\nx{a="1\u20282"}\r\n'.encode())
    assert read_queries(path) == ["up", 'x{a="1\u20282"}']


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe up"])
def test_error_names_file_without_queries(tmp_path, content):
    path = tmp_path / "q.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"q\.txt"):
        read_queries(path)


def test_error_names_unreadable_file(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_queries(tmp_path / "none")
    with pytest.raises(UsageError, match="Is a directory"):
        read_queries(tmp_path)


def test_variables_are_substituted_once_per_query():
    queries = ['a{namespace=~"$namespace"}', 'b{pipeline=~"$pipeline",c=~"x$"}', "up", "up", "$namespaces"]
    assert substitute_variables(queries, {"namespace": "live.aps"}) == [
        'a{namespace=~"live[.]aps"}',
        'b{pipeline=~".*",c=~"x$"}',
        "up",
        "$namespaces",
    ]
    with pytest.raises(UsageError, match="namespace"):
        substitute_variables(queries, {"namespace": 'x"}'})


def test_at_modifiers_are_resolved_outside_quotes():
    full_range = QueryRange(1000, 5500, 500)
    query = 'x @ start() + y{a="@ end()"} @end( ) - z'
    assert resolve_at_modifiers(query, full_range) == 'x @ 1.000 + y{a="@ end()"} @5.500 - z'
    assert resolve_at_modifiers("start() + end()", full_range) == "start() + end()"
