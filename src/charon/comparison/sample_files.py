"""Samples of a cell as JSON, one list per column, and as Parquet, one row per frame."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from charon.adapters.storage.parquet import table_to_parquet
from charon.comparison.samples import FrameSamples

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from charon.comparison.model import CellResult

_COLUMNS = tuple(field.name for field in fields(FrameSamples))
_ELEMENT_TYPES: dict[str, type[np.generic]] = {"rejected": np.bool_}


class SamplesError(ValueError):
    """A file of samples is damaged; the message describes the damage."""


def samples_to_json(samples: FrameSamples) -> bytes:
    """Return an object with one list per column."""
    columns = {name: column.tolist() for name, column in _columns(samples).items()}
    return json.dumps(columns, separators=(",", ":")).encode() + b"\n"


def samples_to_parquet(samples: FrameSamples, result: CellResult) -> bytes:
    """Return a table with one row per frame; its metadata contain the result of the cell under the key ``charon``.

    Raises
    ------
    UnavailableError
        If pyarrow is not installed.
    """
    return table_to_parquet(_columns(samples), {"charon": result.model_dump_json()})


def samples_from_json(content: bytes) -> FrameSamples:
    """Return the samples in the content of a JSON file.

    Raises
    ------
    SamplesError
        If the content is not an object with equally long lists of the columns' type.
    """
    try:
        document = json.loads(content)
    except ValueError as error:
        raise SamplesError(f"not valid JSON ({error})") from error
    if not isinstance(document, dict) or set(cast("dict[str, object]", document)) != set(_COLUMNS):
        raise SamplesError(f"not an object with the columns {', '.join(_COLUMNS)}")
    columns = {name: _column(name, cast("Mapping[str, object]", document)[name]) for name in _COLUMNS}
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise SamplesError("columns of different length")
    return FrameSamples(**columns)


def _columns(samples: FrameSamples) -> dict[str, NDArray[Any]]:
    return {name: getattr(samples, name) for name in _COLUMNS}


def _column(name: str, values: object) -> NDArray[Any]:
    element_type = _ELEMENT_TYPES.get(name, np.int64)
    expected = bool if element_type is np.bool_ else int
    if not isinstance(values, list) or any(type(value) is not expected for value in cast("list[object]", values)):
        raise SamplesError(f"column {name} is not a list of {expected.__name__}")
    try:
        return np.array(cast("list[int]", values), dtype=element_type)
    except OverflowError as error:
        raise SamplesError(f"column {name} contains a number beyond 64 bits") from error
