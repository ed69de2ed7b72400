"""Fields are returned with their type; a missing one raises KeyError, one of another type TypeError."""

from __future__ import annotations

import pytest

from charon.frames.fields import integer, integers, mapping, number, optional_number, sequence, text

FIELDS = {"text": "a", "integer": 3, "number": 0.5, "null": None, "list": [1], "map": {"a": 1}}


def test_values_of_the_expected_type_are_returned():
    assert text(FIELDS, "text") == "a"
    assert integer(FIELDS, "integer") == 3
    assert number(FIELDS, "number") == 0.5
    assert type(number(FIELDS, "integer")) is int
    assert optional_number(FIELDS, "null") is None
    assert optional_number(FIELDS, "number") == 0.5
    assert integers(FIELDS, "map") == {"a": 1}
    assert sequence(FIELDS["list"], "list", 1) == [1]


def test_default_replaces_missing_field_only():
    assert (text({}, "x", ""), integer({}, "x", 0), number({}, "x", 0.5)) == ("", 0, 0.5)
    with pytest.raises(TypeError, match="list is not an integer"):
        integer(FIELDS, "list", 0)


@pytest.mark.parametrize("function", [text, integer, number, integers])
def test_missing_field_raises_key_error(function):
    with pytest.raises(KeyError, match="missing"):
        function(FIELDS, "missing")


@pytest.mark.parametrize(
    ("function", "key"),
    [(text, "integer"), (integer, "number"), (number, "text"), (integers, "list"), (optional_number, "text")],
)
def test_wrong_type_is_named(function, key):
    with pytest.raises(TypeError, match=f"{key} is not a"):
        function(FIELDS, key)


def test_map_requires_string_keys_and_list_its_length():
    with pytest.raises(TypeError, match="x is not a map with string keys"):
        mapping({1: 2}, "x")
    with pytest.raises(TypeError, match="x has 1 elements instead of 2"):
        sequence([1], "x", 2)
