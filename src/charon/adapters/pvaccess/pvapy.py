"""PvaPy's extension module, which has no type information, and its type codes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import pvaccess

pva: Any = pvaccess

PvStructure: TypeAlias = Any
"""A ``PvObject`` of PvaPy."""

PV_TYPES: dict[str, Any] = {
    "b": pva.BYTE,
    "h": pva.SHORT,
    "i": pva.INT,
    "l": pva.LONG,
    "B": pva.UBYTE,
    "H": pva.USHORT,
    "I": pva.UINT,
    "L": pva.ULONG,
    "f": pva.FLOAT,
    "d": pva.DOUBLE,
}
DTYPE_OF_PV_TYPE = {int(code): np.dtype(char) for char, code in PV_TYPES.items()}
FIELD_OF_PV_TYPE = {int(code): f"{str(code).lower()}Value" for code in PV_TYPES.values()}
