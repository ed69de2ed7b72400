"""Typed access to the fields of decoded CBOR and JSON maps.

Each function raises KeyError if the field is missing, unless a default is given, and TypeError if the value has
the wrong type.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

Fields = Mapping[str, object]
"""A decoded map whose values are not checked yet."""

INT64 = range(-(1 << 63) + 1, 1 << 63)
"""The 64-bit integers that files and arrays can store; the smallest one is reserved for empty slots."""


def text(fields: Fields, key: str, default: str | None = None) -> str:
    """Return the string in a field."""
    value = _value(fields, key, default)
    if not isinstance(value, str):
        raise TypeError(f"{key} is not a string")
    return value


def integer(fields: Fields, key: str, default: int | None = None) -> int:
    """Return the integer in a field."""
    value = _value(fields, key, default)
    if not isinstance(value, int):
        raise TypeError(f"{key} is not an integer")
    return value


def number(fields: Fields, key: str, default: float | None = None) -> float:
    """Return the number in a field; integers are not converted."""
    value = _value(fields, key, default)
    if not isinstance(value, int | float):
        raise TypeError(f"{key} is not a number")
    return value


def optional_number(fields: Fields, key: str) -> float | None:
    """Return the number in a field, or None if the field is null or missing."""
    return None if fields.get(key) is None else number(fields, key)


def integers(fields: Fields, key: str) -> dict[str, int]:
    """Return the map from names to integers in a field."""
    values = mapping(fields[key], key)
    if not all(isinstance(value, int) for value in values.values()):
        raise TypeError(f"{key} contains a value that is not an integer")
    return cast("dict[str, int]", values)


def mapping(value: object, name: str) -> dict[str, object]:
    """Return `value` as a map with string keys."""
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in cast("dict[object, object]", value)):
        raise TypeError(f"{name} is not a map with string keys")
    return cast("dict[str, object]", value)


def sequence(value: object, name: str, length: int | None = None) -> list[object] | tuple[object, ...]:
    """Return `value` as a list; `length`, if not None, is the number of elements that it must have."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} is not a list")
    values = cast("list[object] | tuple[object, ...]", value)
    if length is not None and len(values) != length:
        raise TypeError(f"{name} has {len(values)} elements instead of {length}")
    return values


def _value(fields: Fields, key: str, default: object) -> object:
    return fields[key] if default is None else fields.get(key, default)
