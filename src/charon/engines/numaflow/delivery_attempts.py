"""What a process had in hand when it ended, for the one that follows it in the same pod.

Numaflow does not tell how often it has handed out a message. A frame at which the process dies would kill every
successor: the names of what is in hand therefore stand in a file that outlives the container.
"""

from __future__ import annotations

import json
import logging
import os
from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

_log = logging.getLogger(__name__)
# A message begins with its kind and its name.
_HEAD_BYTES = 512


class DeliveryAttempts:
    """Counts how often each message was in hand when a process ended.

    Parameters
    ----------
    path
        The file, in memory that the pod's containers share.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = _read(path)
        self._now: dict[str, int] = {}

    def attempt(self, payload: bytes) -> int:
        """Return how often the message has been handed out, this time included."""
        return self._before.get(_digest(payload), 0) + 1 if self._before else 1

    def take(self, messages: Iterable[tuple[bytes, int]]) -> None:
        """Write down that the vertex has these messages (payload, attempt) in hand now."""
        self._now.update((_digest(payload), attempt) for payload, attempt in messages)
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps({**self._before, **self._now}))
            fresh.replace(self._path)
        except OSError as error:
            # It costs the protection against a frame that ends the process, nothing else.
            _log.debug("%s: %s", self._path, os.strerror(error.errno or 0))

    def drop(self, payload: bytes) -> None:
        """Take note that a message is dealt with; written down with the next ones."""
        digest = _digest(payload)
        self._now.pop(digest, None)
        self._before.pop(digest, None)


def _digest(payload: bytes) -> str:
    return blake2b(payload[:_HEAD_BYTES], digest_size=12).hexdigest()


def _read(path: Path) -> dict[str, int]:
    try:
        return {str(digest): int(times) for digest, times in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        _log.warning("%s: %s; taking nothing as handed out before", path, error)
        return {}
