"""PvaPy's extension module, which has no types, under one name for this room."""

from __future__ import annotations

from typing import Any, TypeAlias

import pvaccess

pva: Any = pvaccess

PvStructure: TypeAlias = Any
"""A ``PvObject``."""
