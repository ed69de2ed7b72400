"""Files of queries, and what is put into a query; what stands in quotes is left alone."""

from __future__ import annotations

import pytest

from charon.adapters.prometheus.query.queries_file import fill_in, pin_edges, read_queries
from charon.adapters.prometheus.query.times import Span
from charon.errors import UsageError


def test_a_file_has_one_query_a_line(tmp_path):
    path = tmp_path / "q.txt"
    path.write_text("# all\n\n  up  \nrate(x{a=\"#1\"}[1m]) # a comment\n\t# another\nx{b='#\\''}#c\r\n")
    assert read_queries(path) == ["up", 'rate(x{a="#1"}[1m])', "x{b='#\\''}"]


def test_a_file_from_another_system_is_read_as_it_is_meant(tmp_path):
    path = tmp_path / "q.txt"
    path.write_bytes('\ufeffup\r\nx{a="1\u20282"}\r\n'.encode())
    assert read_queries(path) == ["up", 'x{a="1\u20282"}']


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"\xff\xfe up"])
def test_a_file_without_queries_is_named(tmp_path, content):
    path = tmp_path / "q.txt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"q\.txt"):
        read_queries(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_queries(tmp_path / "none")
    with pytest.raises(UsageError, match="Is a directory"):
        read_queries(tmp_path)


def test_variables_are_filled_in_and_repeats_asked_once():
    queries = ['a{namespace=~"$namespace"}', 'b{pipeline=~"$pipeline",c=~"x$"}', "up", "up", "$namespaces"]
    assert fill_in(queries, {"namespace": "live.aps"}) == [
        'a{namespace=~"live[.]aps"}',
        'b{pipeline=~".*",c=~"x$"}',
        "up",
        "$namespaces",
    ]
    with pytest.raises(UsageError, match="namespace"):
        fill_in(queries, {"namespace": 'x"}'})


def test_the_edges_of_the_range_are_pinned_outside_quotes():
    span = Span(1000, 5500, 500)
    assert pin_edges('x @ start() + y{a="@ end()"} @end( ) - z', span) == 'x @ 1.000 + y{a="@ end()"} @5.500 - z'
    assert pin_edges("start() + end()", span) == "start() + end()"
