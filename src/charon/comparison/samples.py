"""Samples of a cell: one row per frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FrameSamples:
    """Frames of a cell, ordered by the detector's time stamp; all arrays have the shape (frames,).

    Parameters
    ----------
    unique_id
        The detector's ``uniqueId``, int64.
    published_ns
        The detector's time stamp, int64, ns since 1970.
    received_ns, result_ns, stitched_ns
        Time at which the engine received the frame, at which its first result was available, and at which its patch
        was in the image, int64, ns since 1970; 0 if that did not happen.
    results
        Number of results of the frame, int64; more than one means duplicates.
    rejected
        Whether the engine rejected the frame, bool.
    """

    unique_id: NDArray[np.int64]
    published_ns: NDArray[np.int64]
    received_ns: NDArray[np.int64]
    result_ns: NDArray[np.int64]
    stitched_ns: NDArray[np.int64]
    results: NDArray[np.int64]
    rejected: NDArray[np.bool_]

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.unique_id)
