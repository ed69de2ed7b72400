"""Scan positions from files: one row for each frame, turned into x and y in metres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from charon.adapters.recordings.arrays import describe, ending, open_arrays
from charon.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

Order: TypeAlias = Literal["xy", "yx"]
"""What the two columns of a table of positions are."""

# Tables of (row, column) are what tike and PtychoNN's tools write; CXI's translation is (x, y, z).
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
    """Return the positions that a file holds.

    Parameters
    ----------
    path
        Text of two columns, with or without a line of names, or a file of arrays.
    scale_m
        What one unit of the file is in m.
    order
        What the two columns are, by default what the file's form implies: as its names say, x and y
        for CXI, else row and column.

    Returns
    -------
    ndarray
        (N, 2) float64, x and y in m.

    Raises
    ------
    UsageError
        If the file cannot be read or holds no positions.
    """
    if ending(path):
        arrays = open_arrays(path)
        found = find_positions(arrays, scale_m=scale_m, order=order)
        if found is None and len(arrays) == 1:
            found = _metres(next(iter(arrays.values())), scale_m, order or "yx")
        if found is None:
            raise UsageError(f"{path}: no positions among {describe(arrays)}")
        return found
    try:
        return _text(path, scale_m, order)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read positions from {path}: {error}") from error


def find_positions(
    arrays: Mapping[str, Any], *, scale_m: float = 1.0, order: Order | None = None
) -> NDArray[np.float64] | None:
    """Return the positions among a file's arrays as `read_positions` does, None where there are none."""
    for x, y in _PAIRS:
        if x in arrays and y in arrays:
            return np.stack([np.ravel(arrays[x][()]), np.ravel(arrays[y][()])], axis=1) * scale_m
    for key, implied in _KEYS.items():
        if key in arrays:
            return _metres(arrays[key], scale_m, order or implied)
    return None


def _metres(array: Any, scale_m: float, order: Order) -> NDArray[np.float64]:  # noqa: ANN401 - of a file
    table = np.asarray(array[()], np.float64)
    table = table.reshape(-1, table.shape[-1]) if table.ndim > 2 else table
    if table.ndim != 2 or table.shape[1] not in (2, 3):
        raise UsageError(f"positions are a table of two columns, this one is {table.shape}")
    pair = table[:, :2] * scale_m
    return pair if order == "xy" else pair[:, ::-1].copy()


def _text(path: Path, scale_m: float, order: Order | None) -> NDArray[np.float64]:
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    rows = [line.replace(",", " ").split() for line in lines]
    names = [name.lower() for name in rows[0]] if rows else []
    for x, y in _PAIRS:
        if x in names and y in names:
            table = np.array([[row[names.index(x)], row[names.index(y)]] for row in rows[1:]], np.float64)
            return table * scale_m
    return _metres(np.array(rows, np.float64), scale_m, order or "yx")
