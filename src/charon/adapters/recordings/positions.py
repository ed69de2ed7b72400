"""Read scan positions from files with one row per frame, and convert them to x and y in metres."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from charon.adapters.recordings.arrays import describe, failure_reason, file_suffix, open_arrays
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Order: TypeAlias = Literal["xy", "yx"]
"""Order of the two columns in a table of positions."""

# The tools of tike and PtychoNN write tables of (row, column); CXI's translation is (x, y, z).
_KEYS: dict[str, Order] = {
    "entry_1/data_1/translation": "xy",
    "entry_1/sample_1/geometry_1/translation": "xy",
    "entry_1/instrument_1/detector_1/translation": "xy",
    "position": "yx",
    "positions": "yx",
    "scan": "yx",
    "probe_positions": "yx",
}
_PAIRS = (("x", "y"), ("x_position", "y_position"), ("entry/data/x", "entry/data/y"), ("x_m", "y_m"))


def read_positions(path: Path, *, scale_m: float = 1.0, order: Order | None = None) -> NDArray[np.float64]:
    """Return the positions in a file.

    Parameters
    ----------
    path
        Text with two columns, with or without a header line, or a file of arrays.
    scale_m
        Unit of the positions in m.
    order
        Order of the columns. By default, the file determines it: columns named x and y, (x, y) for CXI, and
        (row, column) otherwise.

    Returns
    -------
    ndarray
        (N, 2) float64, x and y in m.

    Raises
    ------
    UsageError
        If the file cannot be read or contains no positions.
    """
    if file_suffix(path):
        arrays = open_arrays(path)
        positions = find_positions(arrays, scale_m=scale_m, order=order)
        if positions is None and len(arrays) == 1:
            positions = _to_metres(next(iter(arrays.values())), scale_m, order or "yx")
        if positions is None:
            raise UsageError(f"{path} contains no positions, only {describe(arrays)}")
        return positions
    try:
        return _read_text(path, scale_m, order)
    except OSError as error:
        raise UsageError(f"cannot read positions from {path}: {failure_reason(error)}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"cannot read positions from {path}: not a text file") from error


def find_positions(
    arrays: Mapping[str, Any], *, scale_m: float = 1.0, order: Order | None = None
) -> NDArray[np.float64] | None:
    """Return the positions among a file's arrays like `read_positions`, None if there are none."""
    for x, y in _PAIRS:
        if x in arrays and y in arrays:
            return np.stack([np.ravel(arrays[x][()]), np.ravel(arrays[y][()])], axis=1) * scale_m
    for key, implied in _KEYS.items():
        if key in arrays:
            return _to_metres(arrays[key], scale_m, order or implied)
    return None


def _to_metres(array: Any, scale_m: float, order: Order) -> NDArray[np.float64]:  # noqa: ANN401 - an array or HDF5 dataset
    table = np.asarray(array[()], np.float64)
    table = table.reshape(-1, table.shape[-1]) if table.ndim > 2 else table
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        raise UsageError(f"expected a table of positions with two columns, got shape {table.shape}")
    pair = table[:, :2] * scale_m
    return pair if order == "xy" else pair[:, ::-1].copy()


def _read_text(path: Path, scale_m: float, order: Order | None) -> NDArray[np.float64]:
    lines = enumerate(path.read_text().splitlines(), 1)
    rows = {n: line.replace(",", " ").split() for n, line in lines if line.strip() and not line.startswith("#")}
    if not rows:
        raise UsageError(f"{path}: contains no positions")
    header = next(iter(rows))
    names = [name.lower() for name in rows[header]]
    for x, y in _PAIRS:
        if x in names and y in names:
            del rows[header]
            return _parse_columns(path, rows, (names.index(x), names.index(y))) * scale_m
    # Of three columns, the last is z.
    return _to_metres(_parse_columns(path, rows, (0, 1), max_columns=3), scale_m, order or "yx")


def _parse_columns(
    path: Path, rows: Mapping[int, Sequence[str]], columns: tuple[int, int], max_columns: int = sys.maxsize
) -> NDArray[np.float64]:
    """Return two columns of a table, (rows, 2); the keys are the line numbers of the file."""
    table = np.empty((len(rows), 2))
    for index, (number, row) in enumerate(rows.items()):
        try:
            values = [float(row[column]) for column in columns]
        except (ValueError, IndexError):
            values = []
        if not values or len(row) > max_columns:
            raise UsageError(f"{path}: line {number}: expected two numbers per line, or a header with x and y")
        table[index] = values
    return table
