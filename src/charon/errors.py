"""Exceptions of the project.

Any other exception is fatal: it is logged once, the process exits with a non-zero status, and its supervisor
restarts it.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a frame was rejected; rejections are counted by reason."""

    SHAPE = "shape"
    DTYPE = "dtype"
    CODEC = "codec"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    NOT_FINITE = "not-finite"
    MALFORMED = "malformed"
    POISON = "poison"


class BadFrameError(ValueError):
    """A frame is invalid: it is rejected and counted by its reason, and the run continues.

    Parameters
    ----------
    reason
        Category of the fault.
    detail
        One sentence that describes the fault.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class UnavailableError(ConnectionError):
    """Something that Charon needs is unavailable: the message names it and the remedy.

    A service that does not respond is named by its address, and its callers retry with back-off. Commands also raise
    this error for a missing program or package and for a file that cannot be written, and exit with status 1.
    """


class UsageError(ValueError):
    """The user's request is invalid: the message states in one line what is wrong and what to do."""
