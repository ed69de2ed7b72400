"""Web addresses in messages: without a password."""

from __future__ import annotations

import re

# The second alternative matches a password that contains a slash.
_CREDENTIALS = re.compile(r"//(?:[^/?#]*@|[^/?#]*:[^/?#]*[^/?#\d].*@)", re.DOTALL)


def without_credentials(url: str) -> str:
    """Return a URL, or a malformed one, without user and password."""
    return _CREDENTIALS.sub("//", url, count=1)
