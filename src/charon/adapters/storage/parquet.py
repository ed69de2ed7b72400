"""Write tables of numbers as Parquet files."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from charon.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def table_to_parquet(columns: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """Return the content of a Parquet file.

    Parameters
    ----------
    columns
        Columns by name, each of shape (rows,), with the element type of the file's column.
    metadata
        Key-value metadata of the file.

    Raises
    ------
    UnavailableError
        If pyarrow is not installed.
    """
    pa, pq = _import_pyarrow()
    table = pa.table({name: pa.array(column) for name, column in columns.items()}, metadata=dict(metadata))
    output = io.BytesIO()
    pq.write_table(table, output, compression="zstd")
    return output.getvalue()


def require_pyarrow() -> None:
    """Check that Parquet can be written.

    Raises
    ------
    UnavailableError
        If pyarrow is not installed.
    """
    _import_pyarrow()


def _import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - optional, and slow to import
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise UnavailableError(f"Parquet requires pyarrow; run: {sys.executable} -m pip install pyarrow") from error
    return pa, pq
