"""Tables as Parquet files."""

from __future__ import annotations

import io
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from charon.adapters.storage.parquet import require_pyarrow, table_to_parquet
from charon.errors import UnavailableError


def test_columns_keep_type_and_metadata():
    columns = {"count": np.array([1, -2, 2**62]), "good": np.array([True, False, True]), "value": np.array([0.5, 1, 2])}
    table = pq.read_table(io.BytesIO(table_to_parquet(columns, {"charon": "test"})))
    assert [str(kind) for kind in table.schema.types] == ["int64", "bool", "double"]
    assert {name: table[name].to_pylist() for name in columns} == {name: list(columns[name]) for name in columns}
    assert table.schema.metadata == {b"charon": b"test"}


def test_missing_pyarrow_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UnavailableError, match=r"^Parquet requires pyarrow; run: \S+ -m pip install pyarrow$"):
        require_pyarrow()
