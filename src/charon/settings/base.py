"""Base class of all settings."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings that cannot change after they have been read; unknown fields are an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
