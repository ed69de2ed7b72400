"""States of vertices and of frames, as they are written into the pages of the ledger."""

from __future__ import annotations

from enum import StrEnum

_REJECTED_PREFIX = "rejected:"


class VertexState(StrEnum):
    """Phase of a vertex's process."""

    STARTING = "starting"
    WAITING_FOR_CHANNEL = "waiting-for-channel"
    RUNNING = "running"
    FINISHED = "finished"

    @property
    def is_ready(self) -> bool:
        """Whether the vertex can process frames as soon as they arrive."""
        return self in {VertexState.RUNNING, VertexState.WAITING_FOR_CHANNEL}

    @property
    def label(self) -> str:
        """The state as it is shown to users."""
        return self.value.replace("-", " ")


class FrameState(StrEnum):
    """State that a frame has reached at a vertex; rejected frames have a state for each reason."""

    SEEN = "seen"
    MISSED = "missed"
    ACCEPTED = "accepted"
    RECONSTRUCTED = "reconstructed"


def rejected_state(reason: str) -> str:
    """Return the state of frames that were rejected for a reason."""
    return f"{_REJECTED_PREFIX}{reason}"


def rejection_reason(state: str) -> str | None:
    """Return the reason of a state of rejected frames; None for every other state."""
    return state.removeprefix(_REJECTED_PREFIX) if state.startswith(_REJECTED_PREFIX) else None
