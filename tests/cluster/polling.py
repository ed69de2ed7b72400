"""What several tests of the cluster do with pods."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def until(holds: Callable[[], object], seconds: float, period_s: float = 0.5) -> None:
    """Wait until something holds.

    Raises
    ------
    AssertionError
        If it does not in time.
    """
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s"
        time.sleep(period_s)
