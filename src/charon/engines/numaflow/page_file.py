"""A replica's page in a file of the pod, for the next container of the same pod."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from charon.ledger.pages import page_from_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from charon.ledger.pages import Page

_log = logging.getLogger(__name__)


class PageFile:
    """The page on a volume that the pod's containers share.

    Parameters
    ----------
    path
        The file.
    warn
        Reports a warning to the user.
    """

    def __init__(self, path: Path, warn: Callable[[str], None]) -> None:
        self._path = path
        self._warn = warn

    def load(self) -> Page | None:
        """Return the page, or None if it is missing or invalid."""
        try:
            return page_from_json(json.loads(self._path.read_bytes()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            _log.warning("ignored page file %s: %s", self._path, error)
            return None

    def save(self, page: Page) -> None:
        """Replace the page; warn if it cannot be written."""
        temporary = self._path.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(page.to_json()))
            temporary.replace(self._path)
        except OSError as error:
            self._warn(f"cannot write {self._path}: {error.strerror}; a restarted container cannot resume the account")
