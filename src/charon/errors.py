"""What an error means for the run: one frame is bad, something is away, or it is over.

Everything else that is raised is fatal: it is logged once and the process ends with a non-zero
status, to be started again by its supervisor.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a frame was rejected: the words that rejections are counted by."""

    SHAPE = "shape"
    DTYPE = "dtype"
    CODEC = "codec"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    NOT_FINITE = "not-finite"
    MALFORMED = "malformed"
    POISON = "poison"


class BadFrameError(ValueError):
    """A frame is bad: count it by its reason, set it aside, go on."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnavailableError(ConnectionError):
    """Something that is needed does not answer: try again, and say which address."""


class UsageError(ValueError):
    """The user asked for something that cannot be: one line that says what, and what to do."""
