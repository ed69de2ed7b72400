"""Polling with a timeout, for the cluster tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_until(condition: Callable[[], object], timeout_s: float, interval_s: float = 0.5) -> None:
    """Wait until a condition is true.

    Raises
    ------
    AssertionError
        If the condition is not true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"timed out after {timeout_s:.0f} s"
        time.sleep(interval_s)
