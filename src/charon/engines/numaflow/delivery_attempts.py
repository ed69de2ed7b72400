"""Counts of delivery attempts that survive a restart of the container.

Numaflow does not report how often it has delivered a message. A frame that crashes the process would crash every
successor as well, so the digests of messages in processing are kept in a file that outlives the container.
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
# A message begins with its type and its name.
_DIGEST_INPUT_BYTES = 512


class DeliveryAttempts:
    """Counts how often each message was in processing when a process ended.

    Parameters
    ----------
    path
        The file, on a volume that the pod's containers share.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._earlier = _read(path)
        self._current: dict[str, int] = {}

    def next_attempt(self, payload: bytes) -> int:
        """Return the number of this delivery of a message, counted from 1."""
        return self._earlier.get(_digest(payload), 0) + 1 if self._earlier else 1

    def record(self, messages: Iterable[tuple[bytes, int]]) -> None:
        """Write to the file that these messages (payload, attempt) are in processing."""
        self._current.update((_digest(payload), attempt) for payload, attempt in messages)
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps({**self._earlier, **self._current}))
            temporary.replace(self._path)
        except OSError as error:
            # Without the file only the protection against a frame that crashes the process is lost.
            _log.debug("%s: %s", self._path, os.strerror(error.errno or 0))

    def forget(self, payload: bytes) -> None:
        """Remove an acknowledged message; the file follows with the next `record`."""
        digest = _digest(payload)
        self._current.pop(digest, None)
        self._earlier.pop(digest, None)


def _digest(payload: bytes) -> str:
    return blake2b(payload[:_DIGEST_INPUT_BYTES], digest_size=12).hexdigest()


def _read(path: Path) -> dict[str, int]:
    try:
        return {str(digest): int(attempts) for digest, attempts in json.loads(path.read_bytes()).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        _log.warning("%s: %s; counting every delivery as the first", path, error)
        return {}
